"""Texts of the simulated ads: what an ad says follows from its niche, its hook type and its angle.

What belongs here: the niches' vocabulary, the sentences that express a hook type, and the one function that puts them
together. What does not: which creative is launched, and what it achieves (`market`).

The hook sentences carry the hook; product, angle and closing sentences are neutral (no question marks, numbers, offers
or deadlines), so that the true hook of a text can be found in it and nothing else pretends to be one.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Niche:
    """A niche's words: brands, products (noun phrases), people who buy, pains (noun phrases that fit after "tired of"),
    the myth that contrarians attack, and the angles: name → what the product helps people do (verb phrase)."""

    brands: tuple[str, ...]
    products: tuple[str, ...]
    people: tuple[str, ...]
    pains: tuple[str, ...]
    myth: str
    angles: dict[str, str]


@dataclass(frozen=True, slots=True)
class Copy:
    """One ad's texts, as the advertiser wrote them."""

    headline: str
    body: str
    description: str


NICHES: dict[str, Niche] = {
    "fitness": Niche(
        ("Northpeak", "Ironleaf", "Stride & Co"),
        ("the home workout plan", "the adjustable kettlebell", "the mobility class", "the running coach app"),
        ("runners", "busy parents", "desk workers", "beginners"),
        ("skipped workouts", "sore knees", "crowded gyms", "plans that fizzle out"),
        "longer workouts build better bodies",
        {
            "strength": "build real strength",
            "weight": "lose stubborn weight",
            "home": "train well at home",
            "energy": "wake up with energy",
            "mobility": "move without stiffness",
            "habit": "keep a training habit",
        },
    ),
    "beauty": Niche(
        ("Velouria", "Dew & Fern", "Marlowe Skin"),
        ("the barrier cream", "the vitamin serum", "the tinted balm", "the overnight mask"),
        ("sensitive skin types", "makeup artists", "new mothers", "minimalists"),
        ("dry patches", "breakouts before big days", "cluttered bathroom shelves", "serums that sting"),
        "more products mean better skin",
        {
            "glow": "wake up to a natural glow",
            "calm": "calm irritated skin",
            "simple": "shorten a morning routine",
            "clean": "skip harsh ingredients",
            "age": "soften fine lines",
            "cover": "cover redness lightly",
        },
    ),
    "fashion": Niche(
        ("Halden", "Oak & Linen", "Rue Clément"),
        ("the linen shirt", "the everyday sneaker", "the travel blazer", "the merino dress"),
        ("commuters", "tall women", "weekend travellers", "stylists"),
        ("closets full of nothing to wear", "shirts that shrink", "shoes that blister", "creased suitcases"),
        "good clothes have to be fussy",
        {
            "fit": "find a fit that flatters",
            "comfort": "stay comfortable all day",
            "durable": "wear one piece for years",
            "sustainable": "dress with a lighter footprint",
            "versatile": "go from desk to dinner",
            "care": "forget about ironing",
        },
    ),
    "tech": Niche(
        ("Lumenwire", "Octant", "Fieldnote Labs"),
        ("the noise-cancelling headset", "the mesh router", "the pocket projector", "the smart doorbell"),
        ("remote workers", "gamers", "photographers", "students"),
        ("dropped calls", "dead batteries", "tangled cables", "laggy streams"),
        "faster specs make a better gadget",
        {
            "battery": "go days between charges",
            "speed": "stream without a stutter",
            "privacy": "keep data at home",
            "setup": "set everything up in minutes",
            "sound": "hear every detail",
            "design": "clear a cluttered desk",
        },
    ),
    "ecommerce": Niche(
        ("Parcelry", "Common Goods", "Tidewater Market"),
        ("the gift box", "the kitchen bundle", "the pet subscription", "the storage set"),
        ("gift givers", "pet owners", "new homeowners", "bargain lovers"),
        ("late deliveries", "returns that take weeks", "last-resort presents", "flimsy packaging"),
        "cheap things are good value",
        {
            "delivery": "get it at the door sooner",
            "returns": "send it back without fuss",
            "quality": "own things that last",
            "choice": "pick from makers with a name",
            "gift": "give something they keep",
            "local": "buy from small workshops",
        },
    ),
    "food": Niche(
        ("Saltmeadow", "Pantry Row", "Bright Fork"),
        ("the dinner kit", "the cold brew", "the protein granola", "the hot sauce trio"),
        ("home cooks", "vegetarians", "night-shift nurses", "families"),
        ("soggy lunches", "wasted groceries", "takeaway guilt", "the nightly dinner debate"),
        "healthy food tastes dull",
        {
            "taste": "eat something with real flavour",
            "health": "eat more greens",
            "quick": "put dinner on the table fast",
            "fresh": "taste produce at its best",
            "waste": "throw less food away",
            "protein": "get enough protein",
        },
    ),
    "travel": Niche(
        ("Wayfarer Lane", "Solstice Trips", "Harbour & Hill"),
        ("the island escape", "the rail pass", "the walking tour", "the cabin stay"),
        ("couples", "solo travellers", "grandparents", "city dwellers"),
        ("queues at sights", "hidden booking fees", "cramped flights", "holidays that need a holiday"),
        "far away is more relaxing",
        {
            "rest": "come home rested",
            "adventure": "see what few visitors see",
            "value": "travel further for less",
            "family": "keep every age happy",
            "food": "eat where locals eat",
            "flexible": "change plans freely",
        },
    ),
    "finance": Niche(
        ("Ledgerstone", "Plain Bank", "Copperline"),
        ("the savings account", "the budgeting app", "the index portfolio", "the expense card"),
        ("freelancers", "first-time investors", "couples", "retirees"),
        ("surprise fees", "paper statements", "clumsy spreadsheets", "savings that stand still"),
        "investing is for experts",
        {
            "save": "save without thinking about it",
            "fees": "pay fewer fees",
            "grow": "let money grow quietly",
            "control": "see where money goes",
            "safe": "sleep well about money",
            "retire": "retire on solid ground",
        },
    ),
    "education": Niche(
        ("Lanternwise", "Openquill", "Studyharbour"),
        ("the language course", "the maths tutor", "the coding bootcamp", "the reading club"),
        ("parents", "career changers", "night owls", "teachers"),
        ("forgotten vocabulary", "homework tears", "courses left unfinished", "dull lectures"),
        "some people have no talent for it",
        {
            "career": "qualify for a better job",
            "fluency": "hold a real conversation",
            "pace": "learn at an own pace",
            "confidence": "walk into exams calmly",
            "mentor": "learn with a patient mentor",
            "play": "learn by playing",
        },
    ),
    "real_estate": Niche(
        ("Keystone Row", "Fairgate Homes", "Loft & Lane"),
        ("the home valuation", "the viewing service", "the riverside apartments", "the mortgage check"),
        ("first-time buyers", "landlords", "downsizers", "young families"),
        ("endless viewings", "agents who never call back", "bidding wars", "paperwork piles"),
        "renting is throwing money away",
        {
            "price": "sell at a fair price",
            "speed": "move sooner",
            "light": "live in a brighter home",
            "school": "live close to good schools",
            "advice": "get advice without pressure",
            "yield": "earn a steady rent",
        },
    ),
    "saas": Niche(
        ("Stackfold", "Queuebird", "Threadline"),
        ("the support inbox", "the invoicing tool", "the analytics dashboard", "the scheduling assistant"),
        ("founders", "support teams", "accountants", "project managers"),
        ("copy-paste reports", "missed handovers", "tab overload", "unpaid invoices"),
        "teams need more meetings",
        {
            "time": "win back hours of work",
            "cash": "get paid sooner",
            "clarity": "see every project at a glance",
            "integrate": "connect tools already in use",
            "support": "answer customers faster",
            "secure": "pass security reviews",
        },
    ),
    "health": Niche(
        ("Calmwell", "Tidal Health", "Rootmark"),
        ("the sleep programme", "the magnesium blend", "the online physio", "the allergy test"),
        ("light sleepers", "shift workers", "office workers", "carers"),
        ("restless nights", "stiff necks", "waiting rooms", "afternoon crashes"),
        "tired is just how adults feel",
        {
            "sleep": "sleep through the night",
            "stress": "unwind after work",
            "pain": "ease a nagging back",
            "immunity": "get through winter well",
            "digestion": "settle a nervous stomach",
            "expert": "talk to a real clinician",
        },
    ),
    "entertainment": Niche(
        ("Reelhouse", "Backstage Pass", "Midnight Arcade"),
        ("the mystery series", "the concert season", "the puzzle game", "the comedy special"),
        ("film lovers", "game nights", "music fans", "teenagers"),
        ("endless scrolling for a film", "spoilers", "dull evenings", "games full of adverts"),
        "nothing good is made anymore",
        {
            "laugh": "laugh out loud again",
            "thrill": "sit on the edge of the seat",
            "together": "bring everybody together",
            "exclusive": "watch what nobody else shows",
            "relax": "switch off after work",
            "challenge": "challenge a sharp mind",
        },
    ),
    "home_decor": Niche(
        ("Hearth & Hue", "Nordvik", "Clayfield"),
        ("the wool rug", "the linen curtains", "the oak shelf", "the ceramic lamp"),
        ("renters", "new homeowners", "plant lovers", "hosts"),
        ("bare walls", "harsh lighting", "wobbly shelves", "rooms that echo"),
        "good design is for big houses",
        {
            "cosy": "make a room feel warm",
            "space": "make a small room look bigger",
            "craft": "own handmade pieces",
            "storage": "hide everyday clutter",
            "light": "soften the evening light",
            "easy": "hang it without drilling",
        },
    ),
    "automotive": Niche(
        ("Torqueline", "Evergreen Motors", "Roadwise"),
        ("the electric hatchback", "the tyre service", "the car subscription", "the dash camera"),
        ("commuters", "road trippers", "new drivers", "families"),
        ("surprise repair bills", "range anxiety", "haggling at dealers", "fuel prices"),
        "electric cars are no fun",
        {
            "range": "drive further on a charge",
            "safety": "protect everybody on board",
            "cost": "cut running costs",
            "comfort": "arrive relaxed",
            "warranty": "drive without repair worries",
            "green": "drive cleaner every day",
        },
    ),
}
"""The fifteen niches. Each has six angles, four products, four pains and four kinds of people."""

ANGLES = 6
"""Angles of each niche."""

_HEADLINES: dict[str, tuple[str, ...]] = {
    "question": ("Want to {gain}?", "What if {people} could {gain}?", "Is it this simple to {gain}?", "Ready to {gain}?"),
    "pain_point": ("Tired of {pain}", "Sick of {pain}, again", "Struggling with {pain}", "Fed up with {pain}"),
    "statistic": (
        "{pct}% of {people} see it in the first week",
        "{n} out of 10 {people} {gain}",
        "Data from {big} {people}: it works",
        "Study: {pct}% less trouble with {pain}",
    ),
    "social_proof": (
        "Join {big} happy {people}",
        "Loved by {people} everywhere",
        "Rated 4.8 stars by {big} customers",
        "Trusted by {big} {people}",
    ),
    "bold_claim": (
        "Simply the best for {people}",
        "The only thing you need to {gain}",
        "{Product}: number one, guaranteed",
        "The world's best answer to {pain}",
    ),
    "how_to": (
        "How to {gain}",
        "How {people} learn to {gain}, step by step",
        "A simple guide: how to {gain}",
        "{n} steps to {gain}",
    ),
    "story": (
        "Last winter I gave up on {pain}",
        "The day I met {product}",
        "When I started, I had nothing but {pain}",
        "My story with {product}",
    ),
    "ugc": (
        "“I can't believe I waited” – Sam, customer",
        "Okay so I tried {product}",
        "My honest review of {product}",
        "POV: you finally {gain}",
    ),
    "transformation": (
        "From {pain} to a calm routine",
        "Before and after {product}",
        "See the transformation in weeks",
        "Go from {pain} to proud",
    ),
    "offer": ("{off}% off {product}", "Save {off}% with {brand}", "Buy one, get one free", "Free shipping and {off}% off"),
    "curiosity": (
        "The secret that helps {people} {gain}",
        "Nobody tells {people} this about {pain}",
        "You won't guess what helps {people} {gain}",
        "The little-known trick behind {product}",
    ),
    "negative": (
        "Stop putting up with {pain}",
        "Never accept {pain}",
        "The worst mistake {people} make",
        "Don't buy another fix for {pain}",
    ),
    "direct_address": (
        "Hey {people}, this is for you",
        "{People}: you deserve to {gain}",
        "Attention, {people}",
        "Calling all {people}",
    ),
    "urgency": (
        "Last chance: ends tonight",
        "Only {few} left of {product}",
        "Hurry, {product} is almost gone",
        "Ends Sunday: {product}",
    ),
    "contrarian": (
        "Everything you heard about {pain} is wrong",
        "Unpopular opinion: {product} beats the classics",
        "Forget what they say about {pain}",
        "The myth that {myth}",
    ),
    "demonstration": (
        "Watch {product} in action",
        "See how {product} works",
        "Watch this: {product} up close",
        "We tested {product} on camera",
    ),
}
_OPENERS: dict[str, tuple[str, ...]] = {
    "question": ("Have you ever wondered why {pain} never end?", "Do {people} really have to live with {pain}?"),
    "pain_point": ("{Pain} can wear anybody down.", "You know the frustration: {pain}, day after day."),
    "statistic": ("In a survey of {big} {people}, {pct}% said they would choose it again.", "{pct}% of buyers reorder."),
    "social_proof": ("More than {big} {people} already use it.", "Our customers gave it {big} five-star reviews."),
    "bold_claim": ("This is the best {brand} has ever made, guaranteed.", "No other product comes close."),
    "how_to": ("Here is how to do it, step by step.", "Follow this guide and learn how to {gain}."),
    "story": ("Two years ago I was stuck with {pain}. Then I found {product}.", "I remember the morning when it all changed."),
    "ugc": ("“I was sceptical, but I'm obsessed,” says Maya.", "I bought this myself and here's my honest review."),
    "transformation": ("Before: {pain}. After: {brand}.", "See how {people} transformed their days."),
    "offer": ("Get {off}% off your first order with code {code}.", "Today you save {off}% on {product}."),
    "curiosity": ("The reason will surprise you.", "Discover the secret behind {product}."),
    "negative": ("Don't waste another day on {pain}.", "Avoid the mistakes that lead to {pain}."),
    "direct_address": ("If you're one of those {people}, this is for you.", "You know who you are, {people}."),
    "urgency": ("Hurry: the offer ends at midnight.", "Only {few} left, order now before it's gone."),
    "contrarian": ("They say {myth}. They are wrong.", "Contrary to popular belief, it is not true that {myth}."),
    "demonstration": ("Watch what happens when we put it to the test.", "See it in action: we show {product} at work."),
}
_MIDDLES = (
    "{Product} by {brand} helps {people} {gain}.",
    "With {product} from {brand}, {people} {gain}.",
    "{brand} made {product} so that {people} {gain}.",
    "This is {product} by {brand}, made to {gain}.",
)
_CLOSERS = ("", "Made with care.", "Simple from the start.", "Found at {brand}.")
_DESCRIPTIONS = ("{Product} by {brand}", "Made to {gain}", "From the people behind {brand}", "For {people}")


def angle_names(niche: str) -> tuple[str, ...]:
    """Names of a niche's six angles, in the order of their index."""
    return tuple(NICHES[niche].angles)


def brand(niche: str, index: int) -> str:
    """A brand of the niche; `index` may be any integer from 0."""
    brands = NICHES[niche].brands
    return brands[index % len(brands)]


def write(niche: str, brand_name: str, hook: str, angle: str, picks: Sequence[int]) -> Copy:
    """Write one ad that opens with `hook` and promises `angle`.

    Parameters
    ----------
    niche, hook, angle : a key of `NICHES`, a member of `HOOK_TYPES`, a key of the niche's angles.
    brand_name : the advertiser's brand.
    picks : seven integers from 0 that choose headline, opener, middle, closer, product, people and numbers; pains follow the
        numbers. The same picks give the same text.

    Raises
    ------
    KeyError : unknown niche, hook or angle.
    """
    words = NICHES[niche]
    headline, opener, middle, closer, product, people, number = picks
    chosen = {
        "brand": brand_name,
        "product": words.products[product % 4],
        "people": words.people[people % 4],
        "pain": words.pains[number % 4],
        "gain": words.angles[angle],
        "myth": words.myth,
        "pct": str(62 + number % 35),
        "n": str(5 + number % 5),
        "big": f"{(number % 48 + 2) * 1_000:,}",
        "off": str(10 + 5 * (number % 9)),
        "few": str(3 + number % 17),
        "code": f"{brand_name.split()[0].upper()}{10 + 5 * (number % 9)}",
    }
    for name in ("product", "people", "pain"):
        chosen[name.capitalize()] = chosen[name][0].upper() + chosen[name][1:]

    def said(sentences: tuple[str, ...], pick: int) -> str:
        return sentences[pick % len(sentences)].format_map(chosen)

    body = " ".join(filter(None, (said(_OPENERS[hook], opener), said(_MIDDLES, middle), said(_CLOSERS, closer))))
    return Copy(said(_HEADLINES[hook], headline), body, said(_DESCRIPTIONS, product + people))
