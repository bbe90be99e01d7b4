"""The niches, what each holds, and `unknown`."""

DEFINITIONS: dict[str, str] = {
    "fitness": "exercise, gyms, training, sports nutrition and equipment",
    "beauty": "skin, hair, make-up, nails, fragrance, grooming and cosmetic treatments",
    "fashion": "clothes, shoes, bags, jewellery, watches",
    "tech": "devices for consumers and businesses: computers, phones, sound, cameras, smart home, security software",
    "ecommerce": "online shops and marketplaces of many kinds of goods, where the shop is what is advertised",
    "food": "food, drinks, restaurants, groceries",
    "travel": "flights, hotels, holidays, cruises, tourism, luggage",
    "finance": "banks, loans, investing, insurance, tax, payments",
    "education": "schools, universities, courses, tutoring, learning apps",
    "real_estate": "homes and property to buy, rent, sell, build or manage, retirement communities",
    "saas": "software for businesses, sold by subscription",
    "health": "hospitals, doctors, medicines, therapy, dental, hearing, vision, prevention",
    "entertainment": "film, television, radio, music, press, games, events, parks, casinos, sport to watch",
    "home_decor": "furniture, textiles, lamps, decoration, kitchens and bathrooms, home improvement",
    "automotive": "cars, motorcycles, dealers, parts, tyres, repair",
}

NICHES = tuple(DEFINITIONS)
"""What an account can be about."""

UNKNOWN = "unknown"
"""None of the niches, or nobody can tell."""

LABELS = (*NICHES, UNKNOWN)
"""What the classifier tells apart, in the order of its columns."""
