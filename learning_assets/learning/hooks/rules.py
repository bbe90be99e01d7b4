"""The rules that say a hook type: words, constructions, and how surely each means its type.

What belongs here: cues, with the reason why each counts. What does not: how they are matched and added up (`labels`). The rules are our own,
for English, and were developed on `benchmarks/data/hook_development.csv`.
"""

from dataclasses import dataclass

from learning_assets.learning.hooks.types import HookType

MONEY = r"[$€£¥]\s?\d[\d,.]*"

# Building blocks. ASCII classes on purpose: they are several times as fast as `\w` and `\d`, and the words are English.
_WORD = r"[a-z'-]+"
_NUMBER = r"[0-9][0-9,.]*"
_FEW = r"(?:two|three|four|five|six|seven|eight|nine|ten)"
_COUNT = rf"(?:[0-9]+|a|an|one|{_FEW}|twelve)"
_MANY = rf"(?:{_NUMBER}k?|half a|thousands of|millions of|hundreds of|(?:over|more than) {_NUMBER})(?: (?:thousand|million|billion))?\+?"
_TIME = r"(?:seconds?|minutes?|hours?|days?|nights?|weeks?|weekends?|months?|years?)"
_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_WHEN = (
    rf"(?:(?:on|at|by|this|next) )?(?:soon|now|today|tonight|tomorrow|midnight|noon|{_DAY}|(?:[0-9]{{1,2}} )?{_MONTH}|week|weekend)"
    rf"|(?:in|at) [0-9]+"
)
_PERSON = (
    r"(?:guy|man|woman|mom|mum|dad|mother|father|kid|boy|girl|teen|teenager|teacher|student|couple|family|artist|doctor|nurse|soldier"
    r"|farmer|baker|chef|plumber|engineer|founder|brothers|sisters|friends)"
)
_KIN = r"(?:husband|wife|boyfriend|girlfriend|mom|mum|mother|dad|father|son|daughter|kids?|sister|brother|grandma|grandmother|grandfather|dog|cat)"
_GROUP = (
    r"(?:parents|moms|mums|mothers|dads|fathers|runners|cyclists|gardeners|teachers|students|nurses|founders|freelancers|gamers|readers|travell?ers"
    r"|beginners|homeowners|renters|landlords|owners|lovers|fans|addicts|drinkers|sleepers|drivers|workers|buyers|sellers|managers"
    r"|marketers|creators|artists|writers|developers|designers|accountants|professionals|families|couples|women|men|ladies|guys|friends|folks)"
)
_EXPERT = (
    r"(?:experts?|doctors?|dermatologists?|dentists?|vets?|physios?|physiotherapists?|chiropractors?|nutritionists?|dietitians?|trainers?|coaches"
    r"|chefs?|bakers?|baristas?|stylists?|hairdressers?|engineers?|scientists?|pros|professionals|nurses|athletes?|pilots|teachers?"
    r"|editors?|celebrit(?:y|ies))"
)
_BODY = (
    r"(?:back|neck|shoulders?|knees?|hips?|joints?|feet|foot|heels|legs?|hands|wrists?|eyes|skin|scalp|hair|lips|gums|teeth|nails|head"
    r"|stomach|gut|muscles)"
)
_QUALITY = (
    r"(?:best|finest|greatest|softest|lightest|fastest|strongest|toughest|cleanest|quietest|smoothest|freshest|smartest|easiest|safest"
    r"|warmest|coolest"
    r"|thinnest|smallest|biggest|brightest|simplest|richest|quickest|tastiest|cosiest|coziest|comfiest|healthiest|sharpest|crispiest|juiciest|hottest"
    r"|cutest|happiest|purest|hardest|greenest|thickest|boldest|leanest|deepest|kindest|cheapest|longest[- ]lasting|most [a-z]+)"
)
_PERCENT_OFF = (
    rf"{_NUMBER}\s?(?:%|percent|per cent)\s?(?:off|discount|back|cash ?back)"
    rf"|(?:save|saves|saving|take|get)\s(?:up to\s|an extra\s)?{_NUMBER}\s?(?:%|percent)"
)
_PAST = (
    r"(?:[a-z]{3,}ed|was|were|had|went|got|said|made|took|found|left|lost|sold|quit|gave|built|began|met|grew|wrote|came|told|knew|kept|spent|bought"
    r"|broke|fell|saw|thought|ran|brought|sat|stood|became)"
)
_RUINS = r"(?:ruin|wreck|destroy|damag|kill|harm|hurt|poison|chok|drain|rob|steal|sabotag)(?:e|es|s|ing)?"


@dataclass(frozen=True, slots=True)
class Rule:
    """A cue for a hook type: `pattern` is matched between word boundaries in text as `normalised` gives it.

    `confidence` is our judgement, 0 to 1, of how surely the cue alone means the type. `without` is taken out of the text
    before looking (a discount is no statistic). `whole` is False where the cue ends or begins with a sign, and brings its own bounds.
    """

    hook: HookType
    confidence: float
    pattern: str
    without: str | None = None
    whole: bool = True


# Each construction stands with the reason why it counts. Cues at 0.5 and above say a type alone; weaker ones need a second witness.
RULES: tuple[Rule, ...] = (
    Rule("question", 0.95, r"\?[\"')\]]*$", whole=False),
    Rule("question", 0.80, r"\?", whole=False),
    Rule("question", 0.60, r"did you know|have you ever|ever wonder(?:ed)?|what if|who knew"),
    # Having enough of something names it as a burden.
    Rule(
        "pain_point",
        0.80,
        r"(?:sick and )?tired of|sick of|fed up(?: with)?|struggl(?:e|es|ed|ing) (?:with|to)|frustrated (?:with|by)|(?:hate|dread) (?:it )?when"
        r"|had enough of|say goodbye to|dreading|can't stand"
        r"|(?:is|are) killing (?:you|me|us)|driv(?:es|ing) (?:you|me|us) (?:mad|crazy|nuts)|keep(?:s|ing)? (?:you|me|us) (?:up|awake)|up all night",
    ),
    # A part of the body and what ails it, in either order.
    Rule(
        "pain_point",
        0.75,
        rf"(?:sore|stiff|achy|aching|itchy|swollen|cracked|sweaty|puffy|numb|tense|irritated|bleeding|thinning|greasy|oily"
        rf"|brittle)(?:,? {_WORD})? {_BODY}"
        rf"|{_BODY} (?:that |which |is |are |always |still )*(?:aches?|aching|hurts?|hurting|itch(?:es|y)?|burns?|burning|sore|stiff|falling out)"
        rf"|{_BODY}[- ](?:pain|ache|strain)",
    ),
    # Complaints that are the name of a complaint.
    Rule(
        "pain_point",
        0.60,
        r"frustrat(?:ed|ing|ion)|overwhelm(?:ed|ing)|stressed(?: out)?|suffer(?:s|ed|ing)?|exhausted|drained|burn(?:ed|t) out|worried about"
        r"|headaches?|migraines?|acne|breakouts?|blisters?|bloat(?:ed|ing)|heartburn|cramps|insomnia|anxiety|burnout|eczema|dandruff|cravings|snoring"
        r"|sleepless|brain fog|annoy(?:ed|ing)|painful|nightmare|no more|aches?|itch(?:es|ing|y)?",
    ),
    # Time lost or a thing that cannot be done, an excess, a lack.
    Rule(
        "pain_point",
        0.55,
        rf"another {_WORD} (?:lost|wasted|spent|ruined)|lost to|wasted on|can't (?:sleep|focus|afford|find|keep up|fall asleep|get (?:the|it|rid"
        rf"|up|out))"
        rf"|too (?:many {_WORD}|much (?:noise|work|stress|stuff|clutter|screen|sugar|paperwork))|never enough|no time (?:to|for|left)"
        rf"|not enough (?:time|space|room|sleep|hours|energy)|out of (?:storage|ideas)"
        r"|hard to (?:[a-z]+ )?(?:sleep|eat|find|keep|focus|get|stay|clean|reach|say|breathe|concentrate|switch|fit|lose)|impossible to (?:find"
        r"|clean|get|keep|sleep)"
        r"|wak(?:es|ing) up (?:tired|every|at)|falling behind|a pain|the hassle|chores?",
    ),
    # Defects: a mere word for one may be a product ("wood stain"), two together are a complaint.
    Rule(
        "pain_point",
        0.40,
        r"pain|problems?|stuck|worr(?:y|ied)|hard to|hassle|afraid of|struggl(?:e|es|ed|ing)|stains?|clutter|mess|messy|mould|mold|damp|smelly"
        r"|odou?rs?"
        r"|leak(?:s|y|ing)?|jammed|clogged|broken|tangled|frizz(?:y)?|flaky|cracked|creaky|wobbly|soggy|laggy|slow|crash(?:es|ing)|paperwork"
        r"|queues|boring",
    ),
    Rule(
        "pain_point",
        0.40,
        r"\bagain[.!]?$|\bevery (?:night|morning|winter|time you|step|staircase)\b",
        without="never [ -~]* again",
        whole=False,
    ),
    # Something that does not do what it should, or does what it should not; toil in the form of "-ing at".
    Rule(
        "pain_point",
        0.60,
        r"(?:won't|doesn't) (?:fit|work|stay|eat|sleep|hold|charge|start|close|listen|connect|load|drain|dry|shut)|nothing (?:fits|works|helps"
        r"|matches|sticks|to wear)"
        r"|(?:that|which) (?:digs? in|rubs?|pinch(?:es)?|chafes?|slips?|rides?|itch(?:es)?|leaks?|shrinks?|fades?|sags?|stings?|tears?|drops?"
        r"|dr(?:y|ies) out|falls? apart)|(?:drops|freezes|lags|dies|snaps|slips|rips|overheats|buffers) (?:in|every|again|when|halfway|at"
        r"|before)"
        r"|(?:crying|cursing|swearing|shouting|fighting|scrubbing|hunting|searching|digging|juggling|drowning|buried|squinting|shivering"
        r"|sweating) (?:at|in|over|with|for|through|under)|waiting (?:[a-z0-9]+ (?:hours|days|weeks|months)|for hours)"
        r"|fatigue|slump|night sweats|shin splints|hangovers?|jet lag|hot flush(?:es)?|razor burn|rash(?:es)?|sunburn",
    ),
    # Shares. Composition ("72 % cocoa"), rates of interest and "100 %" prove nothing.
    Rule(
        "statistic",
        0.85,
        rf"{_NUMBER}\s?%|{_NUMBER} (?:percent|per cent)\b",
        without=rf"{_PERCENT_OFF}|\b(?:100|0)\s?%|{_NUMBER}\s?% (?:[a-z]+ )?(?:cotton|wool|silk|linen|cashmere|leather|polyester|cocoa|cacao|alcohol|abv"
        rf"|apr|aer|interest|lanolin|recycled)",
        whole=False,
    ),
    Rule(
        "statistic",
        0.80,
        rf"(?:[0-9]{{1,2}}|one|{_FEW}) (?:out of|in|of)(?: every)? (?:[2-9]|[1-9]0|100|1,?000|{_FEW}|twenty|hundred)"
        r"|(?:one|two|three|a)[- ](?:thirds?|quarters?|fifths?)(?: of)?|half of (?:all|the|us|our|new|[a-z]+s)|majority of|on average",
        without=rf"\b(?:[0-9]+|one|{_FEW}|a) (?:in|of) (?:[0-9]+|{_FEW}) (?:days?|weeks?|minutes?|hours?|months?|colou?rs|sizes|steps)",
    ),
    # Multiples and measured differences.
    Rule(
        "statistic",
        0.65,
        rf"(?:[0-9.]+\s?x|(?:[0-9]+|{_FEW}) times) (?:more|less|fewer|as|the|your|[a-z]+er)|twice (?:as|the)|double the"
        rf"|half the (?:[a-z]+ )?(?:time|sugar|calories|fat|energy|weight|size|salt)"
        rf"|(?:cut|reduc|rais|increas|boost|grow|improv|ris|drop)(?:e|es|s|ed|ing)? (?:{_WORD} ){{1,4}}by {_NUMBER}"
        rf"|(?:saves?|cuts?|adds?|loses?|burns?|uses?|spends?|lasts?) (?:about |up to |over |only |just )?{_NUMBER} (?:{_WORD} )?(?:{_TIME}"
        rf"|miles|calories|litres|liters|kg|grams|pounds|watts)",
    ),
    Rule(
        "statistic",
        0.60,
        rf"{_NUMBER}\s?(?:g|grams|mg) (?:of )?(?:protein|fib(?:re|er)|sugar|carbs|fat|caffeine)|{_NUMBER} (?:calories|kcal)"
        rf"|{_NUMBER} (?:hours|days|miles|km) (?:of (?:battery|playtime|range)|on (?:a|one) (?:single )?(?:charge|tank))"
        r"|(?:studies|research|data|science|surveys?|figures|trials?) (?:show|shows|say|says|prove|proves|suggests?|found|confirms?)"
        r"|a (?:new )?(?:study|survey) (?:of|found|shows|says)|the average",
    ),
    # Large counts, but not of those who bought or praise: that is a crowd to lean on.
    Rule(
        "statistic",
        0.55,
        rf"(?:{_NUMBER}|an?|[a-z]+teen|{_FEW}) (?:thousand|million|billion|trillion)",
        without=rf"join [ -~]*|{MONEY} (?:thousand|million|billion)|{_MANY} (?:{_WORD} )?(?:customers|reviews|fans|users|members|subscribers|downloads"
        rf"|orders|nurses|teams|homes)|half a million",
    ),
    Rule("statistic", 0.40, r"[0-9]{1,3}(?:,[0-9]{3})+|statistics?|study|studies|survey|data|average"),
    Rule(
        "statistic",
        0.40,
        rf"{_NUMBER} (?:{_WORD} )?(?:a|per|every|each) (?:year|month|week|day|hour|minute|second)",
        without=MONEY,
    ),
    # A change or an effort with its measure, a rate of events.
    Rule(
        "statistic",
        0.55,
        rf"(?:up|down|gain(?:s|ed)?|takes?|lose|loses|lost|wastes?|spends?|drop(?:s|ped)?) (?:by |about |over "
        rf"|an average of )?{_NUMBER} (?:points|litres|liters|gallons|tonnes|tons|hours|minutes|kilos|miles|calories)|every (?:second|minute"
        rf"|[0-9]+ (?:seconds|minutes))"
        rf"|(?:quieter|faster|lighter|stronger|less|more|fewer|longer) than .{{1,30}}{_NUMBER}",
    ),
    # Whom it pleased: a passive with its agent, an invitation to join, a count of those who bought or wrote.
    Rule(
        "social_proof",
        0.80,
        rf"(?:loved|trusted|recommended|approved|chosen|preferred|endorsed|backed|praised|adored|worn|relied on) by"
        rf"|join (?:the |our |over |more than )*(?:{_NUMBER}|thousands|millions|hundreds|community|movement)"
        rf"|(?:{_MANY}|happy|our) (?:{_WORD} )?(?:customers|reviews|fans|users|members|subscribers|downloads|ratings)|(?:{_NUMBER}\+?"
        rf"|thousands of|millions of) (?:{_WORD} )?people"
        rf"|{_MANY} (?:{_WORD} ){{1,2}}(?:can't (?:all )?be wrong|agree|already|use|wear|love|trust|swear|drink|choose|chose|rely|switched|own)",
    ),
    # Ratings, prizes, rankings, the press.
    Rule(
        "social_proof",
        0.75,
        r"as (?:seen|featured|heard|worn|reviewed) (?:on|in|by)|featured (?:in|on)|best[- ]?sell(?:er|ers|ing)|(?:[345](?:\.[0-9])?|five"
        r"|four)[- ]stars?|(?:top|highest)[- ]rated|rated [0-9]\.[0-9]"
        r"|rated (?:the )?(?:best|top|excellent|number)|trustpilot|award[- ]winning|winners? of|voted|(?:of|product of) the year|gold medal"
        r"|(?:win|wins|won) (?:an |the |[a-z]+ )*awards?|shortlisted"
        r"|[a-z]+'s (?:most )?(?:favou?rite|best[- ]loved|most[- ](?:loved|trusted|popular))|(?:cult|crowd|fan|customer)[- ]favou?rite"
        r"|most[- ](?:loved|trusted|popular|wanted|reviewed|recommended|downloaded)"
        r"|rave reviews|raving about|swears? by|sold out (?:twice|again|[a-z]+ times)|verified (?:buyer|customer)|our reviews",
    ),
    # Those who should know, and what they do with it.
    Rule(
        "social_proof",
        0.70,
        rf"{_EXPERT}[- ](?:approved|recommended|tested|loved|trusted|designed|developed|backed|(?:actually |really |all |secretly )?(?:use|uses"
        rf"|love|loves|choose|trust|recommend|recommends|keep|put|reach for|wear|agree))"
        rf"|(?:we asked|according to) (?:{_NUMBER} )?{_EXPERT}",
    ),
    Rule(
        "social_proof",
        0.55,
        r"(?:everyone|everybody)(?:'s| is| keeps| on [a-z]+ is| at [a-z]+ is)? (?:[a-z]+ )?(?:talking|raving|obsessed|wearing|using|switching"
        r"|buying|loves?|wants?)|used by"
        r"|people are (?:[a-z]+ )?(?:talking|raving|obsessed|switching|using|buying|loving)|(?:neighbou?rs|friends|colleagues|competitors"
        r"|others) (?:already|have (?:already )?|all )"
        r"|testimonials?",
    ),
    # A quote with a name behind it.
    Rule("social_proof", 0.55, r"^\"[^\"]{8,}\"\s*(?:[-–—~]|says|said)\s*\w", whole=False),
    Rule("social_proof", 0.50, r"everyone(?:'s| is)|everybody(?:'s| is)|people are|reviews|viral|rated|experts?"),
    Rule("social_proof", 0.35, r"customers|review|fans|famous|popular|celebrit(?:y|ies)|the internet"),
    # Who uses it and keeps to it; where it was seen; a distinction.
    Rule(
        "social_proof",
        0.65,
        rf"(?:{_GROUP}|customers|guests|patients|kids|critics|users) (?:rave|raved|trust|choose|prefer|swear|(?:love|loved) (?:it|this|these"
        rf"|our)|can't stop|keep (?:coming|asking|buying))|keeps? coming back|raves?|^seen (?:on|in)|used (?:in|at|across) (?:over "
        rf"|more than )?(?:{_NUMBER}|hospitals|schools|kitchens|hotels|restaurants)|sold every"
        r"|wait(?:ing )?list of|and counting|champions?|the choice of|(?:called|calls|named) (?:it|us|this) (?:\"|the|one|a)|new york times"
        r"|vogue|forbes|good housekeeping|shark tank|accredited|certified by",
    ),
    # A superlative within a range that leaves nothing out.
    Rule(
        "bold_claim",
        0.75,
        rf"(?:{_QUALITY}|worst|funniest|craziest) .{{1,60}}\b(?:ever|in the world|of all time|on earth|on the planet|in history|on the market"
        rf"|around|anywhere|you can buy|money can buy|in (?:town|britain|america|the (?:uk|us|city|country)))"
        r"|(?:simply|still|hands down|quite) the (?:best|greatest)|(?:the|your) (?:last|only|one) [a-z0-9 ,'-]{1,40}\byou(?:'ll"
        r"| will)? (?:ever )?need"
        r"|the last [a-z0-9 ,'-]{1,40}\b(?:you'll|you will) ever|guarantee[sd]?|world's (?:first|best|most|only|[a-z]+est)|number one"
        r"|the only [a-z]+|changes everything"
        r"|change (?:your life|everything|the world)|once and for all|gold standard|there(?:'s| is) no(?:thing)? (?:better|[a-z]+er)"
        r"|no other [a-z]+|second to none",
    ),
    Rule("bold_claim", 0.75, r"#\s?1\b|\bno\. ?1\b", whole=False),
    # Nothing like it, never again, every time: absolutes about what the product does.
    Rule(
        "bold_claim",
        0.70,
        rf"nothing (?:else )?(?:{_WORD} )?(?:{_WORD} )?(?:like (?:it|this|our)|beats|compares|comes close|works better)"
        rf"|never (?:{_WORD} ){{1,5}}again|every single time|(?:any|every) [a-z0-9 ,'-]{{1,30}}(?:every time|every [a-z]+)"
        r"|like no other|does it all|all you(?:'ll)? (?:ever )?need|unbeatable|unbreakable|indestructible|unrivall?ed|unmatched|unparalleled"
        r"|foolproof|bulletproof|game[- ]chang(?:er|ing)|life[- ]changing|never fails"
        r"|built to last forever|lasts? (?:forever|a lifetime)",
    ),
    # The superlative opens the ad, so that it speaks of the product.
    Rule(
        "bold_claim",
        0.60,
        rf"^(?:simply |probably |hands down |quite possibly )?(?:the |our |britain's |america's )?{_QUALITY} [a-z]",
        without=r"(?:best|easiest|fastest|quickest) (?:way|time|of|before|wishes|practices?)|most (?:people|of|days|homes|[a-z]+s)",
    ),
    Rule(
        "bold_claim",
        0.50,
        r"ever (?:made|seen|heard|created)|perfect(?:ly)?|ultimate|revolutionary|proven|always works?|flawless|miracle",
    ),
    Rule(
        "bold_claim",
        0.35,
        rf"(?:{_QUALITY}|worst|most|bravest)|everything|always|absolutely|completely|totally|instantly|overnight|forever",
    ),
    # Promises without exception, perfection reached, a superlative of its place.
    Rule(
        "bold_claim",
        0.65,
        rf"never (?:need|buy|want|look|worry|run out|go back) (?:another|again|to another|back|about|of)|zero {_WORD}[.,]? zero"
        rf"|like (?:you've )?never before|(?:perfected|reinvented|redefined|done right)|impossible to (?:spill|break|beat|resist|put down|lose)"
        rf"|as good as it gets|no exceptions|no matter what"
        rf"|(?:nobody|no one) does (?:it|{_WORD}) better|out(?:performs|lasts|shines|classes)|beats (?:every|any|all)|the future of"
        rf"|so {_WORD},? (?:that )?(?:you'll|you won't|you will|it'll)|will never (?:let you down|break|fade|leak|fail|rust|rip)"
        rf"|total(?:ly)? {_WORD} .{{0,20}}in (?:seconds|minutes)|{_QUALITY} [a-z0-9 '-]{{1,40}} in (?:the )?[a-z]+$",
        without=r"in (?:years|months|weeks|life|stock)$",
    ),
    Rule("how_to", 0.95, r"how to"),
    # A list of things to do, or the kind of text that instructs.
    Rule(
        "how_to",
        0.75,
        rf"here's how|step[- ]by[- ]step|(?:[0-9]+|{_FEW}) (?:{_WORD} ){{0,2}}(?:ways|steps|tips|tricks|hacks|rules|ideas|recipes|exercises"
        rf"|stretches|moves|habits|lessons|techniques|outfits|things to)"
        rf"|guides? (?:to|for)|learn (?:how|to|{_WORD} (?:in|from|at|with))|the (?:easy|easiest|best|right|fastest|proper|quickest|simple"
        rf"|correct) way to"
        r"|checklist|cheat sheet|masterclass|tutorial|^recipe|recipes? (?:for|with)|tips (?:for|to|on|from)|what to (?:pack|wear|eat|cook"
        r"|look for|say|check|ask|plant|bring|do (?:if|when|with|before))"
        r"|(?:what|everything) you need to know|how (?:i|we) (?:[a-z]+ )?(?:make|prep|cook|style|clean|plan|grow|train|keep|store|pack|wash"
        r"|save|organi[sz]e|fold|bake|build|edit)",
    ),
    # An imperative of making, with the means or the time it takes.
    Rule(
        "how_to",
        0.65,
        rf"^(?:make|build|cook|bake|grow|fix|sew|knit|brew|mix|clean|style|create|plan|repair|install|draw|train|teach|prep"
        rf"|master) [a-z0-9 ,'-]{{3,50}}\b(?:at home|yourself|from scratch|like a pro|in (?:just |under )?{_COUNT} (?:{_WORD} )?(?:{_TIME}"
        rf"|steps))",
    ),
    # The form of a lesson: explained, a guide, a trick for a task, something to be built by oneself.
    Rule(
        "how_to",
        0.60,
        r"explained$|101$|made (?:simple|easy)|(?:quick|short|free|simple|complete|beginner's|buyer's|practical|easy|definitive"
        r"|[a-z]+ing) guide|^diy|^(?:teach|train) your|(?:simple|easy|easier|quick|quicker|clever|smart|better|proven) (?:tricks?|ways?|hacks?"
        r"|methods?|fix(?:es)?|routine) (?:to|for)"
        r"|with (?:this|these|one) (?:[a-z]+ )?(?:methods?|tricks?|hacks?|steps)|(?:when|where) to (?:plant|buy|start|prune|put|place|store"
        r"|post|look|begin|cut)|the basics of|do it yourself|in (?:[0-9]+|two|three|four|five|six|seven) (?:[a-z]+ )?steps|^(?:choosing|picking"
        r"|planning|starting|growing|writing|training) [a-z0-9 ,'-]{3,50}:",
        without=r"forget [0-9,]+ steps",
    ),
    # When it was: a date or a day in somebody's past.
    Rule(
        "story",
        0.70,
        rf"true story|real stor(?:y|ies)|(?:my|our|his|her|their|the|one) (?:{_WORD} )?story (?:of|behind|about|with|began|starts?)|^(?:my"
        rf"|our) story|one (?:day|night|morning|summer|winter),? (?:in|i|we|he|she|they|a|my|the|when)|(?:{_COUNT}|many|few) years? ago"
        rf"|the (?:day|night|morning|year|summer|winter|moment) (?:that )?(?:i|we|he|she|they|my|our|it|the)|last (?:{_WORD} )?(?:i|we|he|she"
        rf"|they|my)|once upon|what happened next|grew up|back in (?:the|[0-9]{{4}})"
        r"|it (?:all )?(?:started|began) (?:with|in|when|as|on|at)|(?:idea|it) came to (?:me|us|him|her)|(?:i|he|she) was (?:only "
        r"|just )?[0-9]{1,2}|at (?:age )?[0-9]{1,2},? (?:he|she|i)"
        rf"|how (?:a|an|one|two|this|our) (?:{_WORD} ){{1,4}}(?:built|made|beat|saved|became|turned|started|lost|won|found|changed|learned|quit"
        rf"|went|invented)",
    ),
    # Somebody who did something.
    Rule(
        "story",
        0.60,
        rf"(?:this|a|an|one|these|our|two|three|the) (?:[0-9]+[- ]year[- ]old )?(?:{_WORD} )?{_PERSON}s? (?:{_WORD} )?(?:who|was|had|did|went"
        rf"|got|said|made|has|decided|asked|spent|bought|built|started|quit|left|lost)"
        r"|[0-9]+[- ]year[- ]olds?|when (?:i|he|she|they|we|my|his|her|this|a|an|the)\b[ -~]{1,80}\b(?:he|she|they|i|we|it)"
        r"|(?:he|she|they|i|we) (?:was|were|had|went|got|said|thought|made|took|found|decided|started|asked|told|saw|knew|wanted|left|lost|sold"
        r"|quit|gave|built|began|met|moved|grew|wrote|learned|opened|couldn't|never [a-z]+ed)"
        rf"|my {_KIN} (?:never |always |once )?(?:was|had|went|got|said|made|told|taught|wrote|gave|used to|left|started)|meet (?:the|this"
        rf"|my) {_PERSON}",
        without=r"(?:i|we) (?:was|were) (?:skeptical|sceptical|obsessed)|(?:i|we) (?:asked|made) (?:[0-9]|it|this|them)",
    ),
    Rule(
        "story",
        0.50,
        r"\bthen (?:the|one) [a-z]+ [a-z]+ed\b|\bthen the [a-z]+ (?:rang|came|went|broke|fell|died|left)\b|\bin (?:19|20)[0-9]{2},?\b"
        r"|\bmeet [a-z]+[.,:]",
        whole=False,
    ),
    Rule(
        "story",
        0.35,
        r"until|then (?:he|she|they|it|i|we)|and then|his|her|my (?:son|daughter|mom|dad|wife|husband|friend|life)|stor(?:y|ies)|meet (?:the"
        r"|this|my|a)",
    ),
    # The past tense with a time before it, with two deeds in a row, or of kin and of one's own beginnings.
    Rule(
        "story",
        0.60,
        rf"^(?:after|when|before|during|on a|on the|{_COUNT} {_TIME} (?:after|later|before|ago)|last"
        rf"|at first) [a-z0-9 '-]{{2,40}}, (?:{_WORD} ){{1,3}}{_PAST}|(?:i|we|he|she|they) {_PAST} (?:{_WORD} ){{1,6}}(?:and|so|then) (?:(?:i|we"
        rf"|he|she|they) )?{_PAST}"
        rf"|^(?:grandpa|grandma|granddad|nan|dad|mum|mom|(?:my|our) (?:first|{_KIN}|founder|team|family)(?: {_WORD})?) {_PAST}|^born in"
        rf"|nearly (?:gave|quit|lost|died|closed)|(?:he|she|they|somebody|someone) {_PAST} [ -~]*[.] (?:we|i|he|she|they) {_PAST}"
        rf"|^(?:{_WORD} )?(?:{_WORD} )(?:gave up|lost (?:his|her|everything)|quit (?:his|her)|left (?:home|school)|sold (?:his|her|everything)"
        rf"|learned to|walked away|started over|set out)",
        without=r"(?:we|i) (?:tested|dropped|drove|poured|froze|boiled|asked|tried|bought|ordered|used|wore)",
    ),
    # What a buyer says of having tried, and the forms of posts.
    Rule(
        "ugc",
        0.80,
        r"i (?:finally |just |actually |recently |honestly )*(?:tried|bought|tested|ordered|switched|caved|wish i'd|wish i had|can't believe"
        r"|can't stop|can't live|never thought|didn't (?:think|expect|believe)|get the hype)"
        r"|i've (?:been (?:using|wearing|taking)|tried|tested|had (?:mine|this|these|it)|used|worn|never (?:been|had|felt|seen|slept))"
        r"|i'm (?:obsessed|hooked|in love|never going)|my (?:honest|new|favou?rite|morning|daily|go-to) [a-z]+"
        r"|unboxing|pov|grwm|get ready with me|you guys|haul|honest(?:ly)? (?:review|thoughts|opinion)|my review|my routine"
        r"|things i (?:actually|always|never|wish|use|love)|(?:day|week) in (?:my|the) life|worth the hype",
    ),
    # A post begins like talk.
    Rule(
        "ugc",
        0.70,
        r"^(?:ok|okay|omg|ngl|tbh|not me|guys|bestie|storytime|y'all|come [a-z]+ with me|day [0-9]+ of|week [0-9]+ of|(?:rating|ranking"
        r"|reviewing|trying) (?:every|all|the|my|a))",
    ),
    # Somebody's own words between quotation marks.
    Rule("ugc", 0.75, r"^\"[^\"]*\b(?:i|i'm|i've|i'd|my|me|mine|myself)\b[^\"]*\"", whole=False),
    Rule("ugc", 0.55, r"^\"[^\"]{8,}\"\s*(?:[-–—~]|says|said)\s*\w", whole=False),
    Rule(
        "ugc",
        0.60,
        rf"my (?:{_KIN}|skin|hair|face|feet|sleep|kitchen|roommate|therapist|dermatologist) (?:keeps|is|are|won't|loves?|thinks?|asks?|stole"
        rf"|says|has never|feels?|looks?|used to)|lol|lmao|so obsessed|i (?:love|use|need|swear|regret) [a-z]+|been using (?:it|this|these)",
    ),
    Rule("ugc", 0.40, r"^(?:i|i'm|i've|my|so i)|obsessed|literally|omg|tiktok|honestly|holy grail|life ?saver"),
    # First person without its pronoun, and the small talk of posts.
    Rule(
        "ugc",
        0.65,
        r"^(?:bought|took|tried|got|ordered|wore|used|been using|gave|found) (?:it|this|these|mine|one|my)|^me (?:[a-z]+ing|when|after|at"
        r"|every)|^update(?: on)?|^obsessed|^wow|no ad|not (?:sponsored|an ad|gonna lie)|today years old|(?:and|just) wow|10/10|iykyk"
        r"|run,? don't walk|take my money|send help"
        r"|i (?:just |actually |really |honestly )+(?:like|love|want|need)|no one (?:warned|told) me|i was (?:today|so|such a|skeptical"
        r"|sceptical)|dear diary|this is your sign|my (?:toxic trait|new personality)",
    ),
    Rule("ugc", 0.50, r"^\"[^\"]{10,}\"$", whole=False),
    # Two states and the way between them.
    Rule(
        "transformation",
        0.80,
        rf"before (?:and|&|vs\.?|/) after|before: [ -~]*after|then (?:and|&|vs\.?) now|then: [ -~]*now|(?:was|once) [ -~]*\b(?:now|today)"
        rf"|went to bed [ -~]*woke up|transform(?:s|ed|ing|ation|ations)?|(?:go|goes|went|going|gone) from|glow[- ]?up|makeover"
        rf"|(?:day|week|month|year) (?:1|one|0|zero) (?:vs\.?|versus|to|and|→|->)|lost [0-9]+ (?:lbs?|pounds|kg|kilos|stone)|(?:changed"
        rf"|saved) (?:my|his|her|their|our) (?:{_WORD} )?li(?:fe|ves)"
        rf"|turn(?:s|ed|ing)? (?:{_WORD} ){{1,6}}into|used to [ -~]*\b(?:now|today|not anymore|no longer|any ?more|these days)|(?:goodbye|bye"
        rf"|bye-bye|farewell) [ -~]*\bhello",
        without=r"before (?:and|&) after (?:work|school|meals|sunset|training|the gym)",
    ),
    # "Dull to bright in a week", "chaos out, calm in", "Now she ...".
    Rule(
        "transformation",
        0.60,
        rf"^from (?:{_WORD} ){{1,5}}to|^{_WORD} to {_WORD} in (?:just |under )?{_COUNT}|out, {_WORD} in|(?:whole|completely|totally) (?:new"
        rf"|different) [a-z]+|(?:bring|brings|brought|bringing) (?:{_WORD} ){{1,4}}(?:back )?to life|back to life|unrecogni[sz]able"
        rf"|yesterday\b.{{1,40}}\btoday|[.!] now (?:i|he|she|we|they|it|there)\b|(?:good as|like) new|new (?:me|you)",
        without=rf"(?:how|learn|ready|want|need|way|ways|steps|guide|what|time|things|easy) to|^from (?:{MONEY}|our|the|a|desk|farm|field|sizes?|london"
        rf"|{_DAY}|{_MONTH}) ",
    ),
    Rule(
        "transformation",
        0.40,
        rf"from (?:{_WORD} ){{1,4}}to|bec(?:ame|ome|omes)|no longer|old .{{1,30}}new|(?:brand|whole) new|reviv(?:e|ed|es)|restor(?:e|ed|es)",
    ),
    Rule("transformation", 0.25, rf"in (?:just |only |under )?{_COUNT} (?:days|weeks|months|minutes)"),
    # One thing in two times, a state that is left, a thing that comes back.
    Rule(
        "transformation",
        0.65,
        rf"^[a-z0-9 '-]{{3,30}} in [a-z0-9]+, (?:and )?(?:{_WORD} )?in [a-z0-9]+|becomes? (?:an? |the |your )?[a-z]+|gets? (?:its|their|his|her"
        rf"|your) .{{1,20}}back|looks? (?:like )?new|(?:down|dropped) {_COUNT} (?:dress )?sizes|{_NUMBER} (?:kg|kilos|pounds|lbs|inches"
        rf"|stone) (?:down|lighter|gone|later)|(?:{_COUNT} )?years younger|new (?:look|lease)|new again",
    ),
    # Money off, and what is thrown in.
    Rule(
        "offer",
        0.90,
        rf"(?:{_PERCENT_OFF})|{MONEY} (?:off|back|credit|each|bonus)\b|\b(?:free (?:shipping|delivery|trial|gift|returns|samples?|month"
        rf"|consultation|quote|entry|upgrade|refills?)|coupons?|vouchers?|promo(?: code)?|discount(?:s|ed)?|bogo|half (?:price|off)"
        rf"|buy (?:one|two|three|[0-9]),? (?:get|the|save)|[0-9] for (?:[0-9]|the price of)|(?:two|2)[- ]for[- ](?:one|1)|clearance|black friday"
        rf"|cyber monday|use code|with code|cash ?back|refer a friend|sale)\b",
        without=r"for sale|don't do black friday",
        whole=False,
    ),
    # A price that is named as low, a sum to be had, nothing to pay, an easy way back.
    Rule(
        "offer",
        0.65,
        rf"\b(?:save|get|earn|win|claim|receive) (?:up to |an extra )?{MONEY}|\b(?:under|below|from|only|just|less than|for just) {MONEY}"
        rf"|\b(?:first|one) (?:{_WORD} )?(?:month|week|box|order|bag|lesson|class|year) (?:is |for |on )*(?:free|us|half|{MONEY})"
        rf"|\b(?:deals?|bundle|for free|special offer|(?:lower|lowest|low|reduced|special|introductory|sale) prices?|prices? (?:cut|drop|slashed"
        rf"|down)|risk[- ]free|giveaway|bargains?|price match)\b"
        rf"|\b(?:get|claim|grab|eat|eats|stay|go|ride|try it|yours|is|are) (?:an? |your |{_WORD} )?free\b|\bfree {_WORD} (?:with|when|on|for"
        rf"|until|included)\b|\bon (?:us|the house)\b"
        rf"|\bno (?:[a-z]+ )?(?:fees?|contract|credit card|commitment|deposit|subscription)\b|\bcancel any ?time|\b(?:nothing to pay"
        rf"|pay (?:nothing|later)|interest[- ]free|0% (?:apr|finance|interest))|\bmoney[- ]back|\bmoney back\b"
        rf"|\btry it for [0-9]+|\b[0-9]+[- ](?:day|night) (?:trial|returns?)|\bsend it back\b|\bsave (?:when|on|with|more|big)\b|\b(?:and"
        rf"|&) save\b|\bbreak the bank\b|\baffordable\b|\bfor less\b",
        without=r"[a-z]+-free",
        whole=False,
    ),
    Rule("offer", 0.35, rf"\b(?:free|offers?|save|cheap|price|prices)\b|{MONEY}", without=r"[a-z]+-free", whole=False),
    # Free at the end, so many for a sum, what somebody else pays.
    Rule(
        "offer",
        0.65,
        rf"\bfree[.!]?$|\b(?:[0-9]+|two|three|four) (?:{_WORD} ){{0,2}}for {MONEY}|[$€£]0\b|\bworth (?:up to )?{MONEY}|\bgift with\b"
        rf"|\bwe(?:'ll)? pay (?:the|your|for)\b|\bstart(?:s|ing) (?:at|from) {MONEY}|{MONEY} (?:a|per) (?:month|week|day)\b"
        r"|\bless than (?:a|the price of|your) (?:[a-z]+ )?(?:coffee|cup|latte|lunch)|\b(?:complimentary|free of charge|no (?:extra )?c(?:ost"
        r"|harge)|try before you buy|easy returns|trade[- ]in|interest free|duty[- ]free|tax[- ]free)\b|\b(?:all|everything"
        r"|now) (?:[a-z]+ )?reduced\b|\bcheaper than\b",
        without=r"(?:gluten|sugar|dairy|cruelty|fat|lactose|bpa|oil|nut|peat|[a-z]+-)[ -]?free",
        whole=False,
    ),
    # What others keep quiet, what cannot be guessed, what is about to be seen.
    Rule(
        "curiosity",
        0.80,
        r"you(?:'ll| will|'d| would) (?:never|not) (?:believe|guess|forget|expect)|you won't (?:believe|expect|guess)|wait (?:until|till"
        r"|for it)|what happen(?:s|ed)(?: (?:next|when|to|after|if))?"
        r"|(?:the )?(?:real )?reason (?:why|you|they|he|she|for|this)|(?:what )?no ?(?:body|one|-one) (?:knows|tells?|told|talks|wants"
        r"|is talking|warns|ever|was supposed|saw|expected)|the truth (?:about|behind)"
        r"|little[- ]known|ever wonder(?:ed)?|(?:the )?secrets? (?:to|of|behind)|find out (?:why|what|how|which|who)|guess (?:what|who|how"
        r"|which)|you might not|don't want you to|(?:hope|hopes) you (?:don't|won't|never)|never tell",
    ),
    # A thing named only by its kind, with a clause that says everything but which one.
    Rule(
        "curiosity",
        0.65,
        rf"(?:the|one|this|that|a|an|single) (?:{_WORD} )?(?:trick|reason|ingredient|thing|habit|detail|part|word|method|rule|step|item|mistake"
        rf"|clue|question) (?:that|why|behind|of the|most|every|no ?body|we|they|your|missing|in your|[a-z]+s (?:use|keep|make|love|swear|forget"
        rf"|never|freeze|won't))"
        r"|there(?:'s| is) (?:a|one) (?:reason|thing|catch|secret)|the (?:strange|weird|surprising|odd|hidden|unlikely|real|curious|unusual"
        r"|unexpected) (?:reason|trick|truth|story|thing|cause|science|history|life)"
        r"|what (?:your|the|most|every|these|that|this|our|really|it|[a-z]+s) (?:[a-z]+ ){0,3}(?:does to|do to|don't|doesn't|won't|hopes?"
        r"|really|actually|secretly|is hiding|are hiding|never|knows?|did next)|most people (?:forget|miss|overlook|never|don't (?:know|notice))",
    ),
    # A reason is promised and not given; a denial of what one sees; an unfinished sentence.
    Rule(
        "curiosity",
        0.55,
        r"^why [^?]+$|\bthis is not (?:a|an|your|just)\b|^this (?:isn't|is not) an? |\.\.\.[\"']?$|\b(?:read|see|try|watch) this\b|\bthis[.!]?$",
        without=r"^why (?:wait|not)\b[ -~]*",
        whole=False,
    ),
    Rule(
        "curiosity",
        0.55,
        r"(?:this|here|that) (?:is|might be|may be|could be) (?:what|why|how)|(?:this|that)(?:'s| is) (?:what|why|how)|here's (?:what|why|the"
        r"|a)|turns out|almost didn't|(?:not|never|weren't|wasn't|aren't) supposed to|something (?:big|new|strange|special|exciting|is)"
        r"|(?:best[- ]kept|dirty|our|my|his|her|their|the|a) (?:[a-z]+ )?secrets?|myster(?:y|ious)|reveal(?:s|ed|ing)?|surpris(?:e|es|ed|ing"
        r"|ingly)|unexpected(?:ly)?|see (?:why|what)|what (?:he|she|they) (?:did|does|do|said)|only one of (?:these|them)|there's more to",
    ),
    Rule(
        "curiosity",
        0.35,
        r"this|these|something|weird|strange|what|why|discover|until|might|the one thing|secrets?|hidden|inside the|find out|forgotten|unusual"
        r"|nobody|no one",
    ),
    Rule("curiosity", 0.35, r"\.\.\.", whole=False),
    # Knowledge that few have or somebody holds back; a change or an arrival that is not named.
    Rule(
        "curiosity",
        0.65,
        r"(?:can't|cannot|couldn't) explain|baffled|guess the|only (?:locals|insiders|a few|experts|[0-9]+%?) (?:[a-z]+ )?(?:know|knows|can)"
        r"|you've never (?:noticed|heard|seen|tried|pressed|used|thought)|about to change|(?:won't|don't|doesn't|didn't|never|rarely) (?:tell"
        r"|warn|show|mention|admit|talk about)"
        r"|the [a-z]+ (?:we|i|he|she|nobody|no one|they|you) (?:never|didn't|almost|can't|won't|weren't|wasn't)|one (?:word|question|habit"
        r"|change|sentence|thing|trick|decision|mistake|ingredient) (?:that )?(?:chang|can|could|made|makes|will|separat|sav|ruin|is)[a-z]*"
        r"|psst|shh|so that's why|coming soon|is (?:almost )?coming"
        r"|(?:it's|is|are) hid(?:den|ing) (?:in|behind|under|at)|behind (?:this|that|closed) [a-z]+|(?:is|are|was)(?:n't| not) what (?:it|they"
        r"|you)|more (?:to it )?than (?:it seems|meets)|what if we told you|in the wrong (?:place|order|way)|look (?:again|closer|twice)"
        r"|what's (?:really |actually )?(?:in|inside|behind|under|hiding|missing)",
    ),
    # An order not to, of something that does harm; "never again" is a promise and "don't miss" a deadline.
    Rule(
        "negative",
        0.70,
        rf"(?:don't|do not|never|stop|avoid|quit) (?:{_WORD} )?(?:let|letting|mak(?:e|ing)|wast(?:e|ing)|buy(?:ing)?|us(?:e|ing)|put(?:ting)?"
        rf"|accept(?:ing)?|pay(?:ing)?|overpay(?:ing)?|feed(?:ing)?|throw(?:ing)?|ignor(?:e|ing)|trust(?:ing)?|sign|fall|risk(?:ing)?"
        rf"|ruin(?:ing)?|eat(?:ing)?|los(?:e|ing)|settl(?:e|ing)|leave|skip|click|wear)"
        r"|mistakes?|warning|beware|dangers?|dangerous|worst|pitfalls?|red flags?|scam(?:s|mers?|med)?|more harm than good|what not to"
        r"|side effects|hidden (?:costs?|fees|dangers?|charges)|bad for (?:you|your|us)|at risk",
        without=rf"never (?:{_WORD} ){{1,5}}again|don't (?:miss|wait|sleep on)|what's the worst",
    ),
    # Harm done, or loss suffered, by the reader or the world.
    Rule(
        "negative",
        0.65,
        rf"(?:is|are|could be|may be|might be|can|could|may|will|that|things|slowly|secretly|quietly) (?:slowly |secretly "
        rf"|quietly )?{_RUINS} (?:you|your|our|the|us|their|it)"
        r"|cost(?:s|ing)? you (?:[a-z]+ )?(?:[0-9]|[a-z]+|[$€£])|throwing (?:away|out)|wast(?:e|es|ing) (?:your|you|money|time|of)"
        r"|losing (?:money|customers|sleep|sales|you|your|time|hair)|(?:about to|will|going to|doomed to|most [a-z]+) (?:fail|break|collapse"
        r"|crash)|signs (?:your|you|of|that)|errors?"
        r"|toxic|harmful|poison(?:ous|ing)?|deadly|disaster|before it's too late",
        without=r"(?:is|are) killing (?:me|it|you)|not [a-z]+ing",
    ),
    Rule(
        "negative",
        0.50,
        r"^(?:don't|do not|stop|avoid) ",
        without=r"(?:don't|do not) (?:miss|wait|sleep on|worry|forget|just|you|call|settle)",
        whole=False,
    ),
    Rule(
        "negative",
        0.55,
        r"terribl[ey]|awful|horrible|horrif(?:ied|ic|ying)|disgust(?:ed|ing)|ruin(?:s|ed|ing)?|wreck(?:s|ed|ing)?|lies|lied|lying|hate[sd]?"
        r"|evil|racis[mt]|rape"
        r"|killed|killing|dead|die[sd]?|death|shame(?:ful)?|scar(?:y|iest|ed)|choking|regrets?",
    ),
    Rule(
        "negative",
        0.35,
        r"kills?|wrong|bad|fail(?:s|ed|ure|ing)?|sad(?:dest)?|los(?:e|es|t|ing)|risks?|threats?|hurts?|avoid|no one|nobody",
    ),
    # Those who do harm, and what one is left with; "before you sign".
    Rule(
        "negative",
        0.60,
        rf"^before you (?:buy|sign|click|hire|pay|book|send|eat|throw|renew)|(?:lose|loses|waste|wastes|wasted) (?:{_NUMBER}|{MONEY}|hours|half"
        rf"|your|their)|eats? (?:your|into|away)|burglars?|thieves|hackers?|fraud(?:sters)?|(?:won't|doesn't|don't) warn|the wrong (?:way|place"
        rf"|time)|(?:starts?|causes?|cause) (?:fires?|cancer|damage|injuries|accidents|infections)"
        r"|^cheap [a-z]+ (?:crack|break|fail|leak|snap|burn|rust|cost)s?|(?:things|foods|habits|words) (?:that|to) (?:[a-z]+ )?(?:age|avoid"
        r"|hurt|cost|slow)|going to waste|no (?:backup|insurance|cover|alarm)|outdated|parasites?|penalt(?:y|ies)|don't be fooled|rip-?offs?",
    ),
    # A mere negation is none, but it leans that way; too weak to carry a second weak cue over the bar.
    Rule("negative", 0.20, r"never|don't|stop|can't|won't|isn't|not|without"),
    Rule("direct_address", 0.90, r"you|your|yours|yourself|yourselves|you're|you'll|you've|you'd|y'all"),
    # A call to a group, by name.
    Rule(
        "direct_address",
        0.70,
        r"^(?:hey|dear|attention|calling (?:all|every)|listen up|to (?:all|every|everyone|anyone) |for (?:anyone|everyone|those|people) (?:who"
        r"|with|whose))",
    ),
    Rule("direct_address", 0.65, rf"^(?:{_WORD} )?{_GROUP}[,:!]\s|\bthis one's for\b", whole=False),
    # An end: of time, of stock, of a price.
    Rule(
        "urgency",
        0.85,
        rf"hurry|(?:last|final) (?:chance|call|day|days|hours?|weekend|tickets|places|spots|pieces|orders?|few)|limited[- ](?:time|edition|stock"
        rf"|offer|supply|spots|seats|places|run|release|numbers?|quantit(?:y|ies))"
        rf"|(?:ends?|ending|closes?|closing|expires?|expiring|gone|over|shuts) (?:{_WHEN}|in)|(?:only|just) [0-9]+ (?:{_WORD} )?(?:left"
        rf"|remaining)|(?:[0-9]+|one|{_FEW}|few|handful|final|last) (?:{_WORD} ){{0,2}}(?:left|remaining|remain|to go)"
        r"|while (?:supplies|stocks?|they|it) lasts?|act (?:now|fast)|(?:today|tonight|weekend|week|one day|one night|month) only|expires?"
        r"|before (?:it's|they're|it is|it|they|prices?|spots|places|tickets|we) (?:too late|gone|fills?|sells?|run|runs|rise|go|goes|ends?"
        r"|disappear|closes?)|once (?:it's|they're) gone|going,? going"
        r"|don't (?:miss|wait|sleep on)|(?:almost|nearly) (?:gone|sold out|full)|selling (?:out|fast)|going fast|won't last|deadline|(?:time"
        r"|stock|days|hours) (?:is |are )?running out|now or never|clock is ticking"
        rf"|prices? (?:go|goes|going|rise|rises|change|changes|increase|increases) (?:up )?(?:{_WHEN}|in|on)",
    ),
    # An order with a date to it.
    Rule(
        "urgency",
        0.60,
        rf"(?:order|book|buy|shop|reserve|register|claim|apply|enrol|enroll|sign up|join|call|start|lock) (?:{_WORD} ){{0,3}}(?:now|today"
        rf"|tonight|before|by (?:{_DAY}|midnight|[0-9]|christmas)|while)|(?:back |here |open )?for (?:one|two) (?:day|night|weekend|week"
        rf"|days)s? only|back for one|until (?:{_DAY}|midnight|tomorrow|tonight)|only (?:until|this|today)",
    ),
    Rule("urgency", 0.50, r"right now|immediately|as soon as possible|asap|(?:24|48|72) hours|too late|urgent|this weekend"),
    Rule("urgency", 0.35, r"now|today|tonight|soon|quick(?:ly)?|finally|last"),
    # Little of it, and soon.
    Rule(
        "urgency",
        0.60,
        rf"sells out|(?:nearly|almost) (?:finished|empty|over|sold)|be quick|move fast|now or|first come|beat the (?:rush|queue|price)"
        rf"|counting down|(?:drops|launches|opens|starts|returns|arrives|lands) (?:on |at |this )?(?:{_DAY}|tomorrow|tonight|midnight)"
        rf"|[0-9]+ (?:seats|pairs|spots|places|rooms|tickets|copies|pieces)(?: made| only|, one)",
    ),
    # A belief is named as such, and denied.
    Rule(
        "contrarian",
        0.85,
        r"unpopular opinion|myths?|debunk(?:s|ed|ing)?|misconceptions?|old wives'? tale|conventional wisdom|(?:doing|got|getting) (?:it|this"
        r"|that|everything|[a-z]+) (?:all )?wrong"
        r"|been (?:[a-z]+ )?(?:told|doing|using) (?:[a-z]+ )?wrong|been lied to|everything (?:you|they|we)(?:'ve)? (?:know|knew|thought|heard"
        r"|learned|told|been told)|not what you(?:'d)? (?:think|thought|expect)"
        r"|think again|contrary to|overrated|you (?:don't|do not) (?:need|have to)|wrong about|why you (?:shouldn't|should not|should stop"
        r"|don't need)|is a lie|the case against|popular belief|against the grain",
        without=r"(?:all|so) you (?:don't|do not) (?:need|have to)",
    ),
    # What everybody says, and what they do not admit: "X isn't the problem", "more doesn't mean better".
    Rule(
        "contrarian",
        0.60,
        rf"(?:isn't|aren't|is not|are not|was never|were never) (?:the (?:problem|enemy|answer|point|issue|solution|most important|key)|about"
        rf"|what|always|ruining|bad for|as [a-z]+ as|dead)"
        rf"|(?:doesn't|don't|does not|do not|won't|isn't|aren't) (?:always )?(?:mean|equal|(?:make|makes) (?:{_WORD} )?[a-z]+er|work like that)"
        rf"|(?:everyone|everybody|most people|they|people|experts|some) (?:says?|thinks?|believes?|assumes?|will tell|get|gets)\b[ -~]*\b(?:we"
        rf"|isn't|doesn't|don't|aren't|but|wrong|not)"
        r"|the more (?:you|we) [ -~]*\bthe (?:less|worse|[a-z]+er)|(?:is|are) (?:nonsense|pointless|wrong)|why (?:we|i) (?:don't|never|stopped"
        r"|quit|won't|gave up)|you've been told|we disagree|stop (?:chasing|counting|trying|following|believing|listening|saving|dieting)"
        r"|doesn't have to be",
    ),
    Rule(
        "contrarian",
        0.55,
        r"forget (?:everything|about|what|the|[0-9]+|your)|instead of|you thought|isn't (?:what|about|really)|we need to stop|no need (?:to|for)",
    ),
    Rule("contrarian", 0.35, r"actually|but|not (?:a|the|because)|shouldn't|despite|stop [a-z]+ing|nobody|no one"),
    # The accused is acquitted, less is said to be more, a dear habit is to be dropped, an objection is answered.
    Rule(
        "contrarian",
        0.60,
        r"(?:is|are|was|were)(?:n't| not| never) (?:the )?(?:villain|enemy|culprit|cause|bad|your problem|your enemy|laziness|too late)"
        r"|nothing to do with|(?:nobody|no one) needs|is the new|^(?:less|fewer|slower|smaller) [a-z0-9 ,'-]{2,40}, (?:more|better|bigger"
        r"|faster|stronger)|less is more"
        r"|^(?:ditch|skip|quit|delete|burn|bin|throw (?:away|out)|break up with|unlearn) (?:the|your|all)|hot take|hear (?:me|us) out"
        r"|break the rules|actually (?:good|bad|better|worse|healthy|makes|make)|in the wrong (?:place|order)|why (?:less|doing nothing"
        r"|quitting|being) |on purpose|(?:more|less) than you(?:'ve)? been told",
    ),
    Rule("contrarian", 0.65, r"\? (?:yes|no|nope|absolutely|wrong|nonsense|false|not really|think again)\b", whole=False),
    # Looking is asked for, and there is something to look at.
    Rule(
        "demonstration",
        0.80,
        r"watch (?:how|me|us|as|what|him|her|them|it|this|these|a|an|the|one|until|someone|our)|see (?:it|them) [a-z]+|in action"
        r"|demo(?:nstration|nstrates?)?|tutorial"
        r"|side[- ]by[- ]side|watch:|let me show|shows? (?:you|us|me) (?:how|what|why|that|exactly)|look (?:at )?how|see how|(?:tap|swipe|click"
        r"|scroll|drag|slide|press play) to (?:see|watch|reveal|compare|look)|left(?: side)?: [ -~]*right",
        without=r"see (?:it|them) (?:on|at|in (?:the|our|your))",
    ),
    # Things are done to the product, or it is held against another.
    Rule(
        "demonstration",
        0.65,
        rf"we (?:tested|dropped|drove|poured|froze|boiled|threw|soaked|washed|compared|smashed|shook|buried|burned|timed|cooked|sat|jumped"
        rf"|ran over|put) (?:it|them|this|these|our|over|on|{_WORD} (?:it|on|in|over))|(?:stress|drop|spill|taste|road|field|torture|scratch"
        rf"|water) test"
        rf"|(?:us|ours|old|new|brand|this|that) vs\.?|vs\.? (?:the|a|ours|theirs|them)|put(?:s|ting)? .{{1,30}} to the test|tour of (?:the|our)"
        rf"|(?:product|video|virtual|studio|factory|[a-z0-9]+[- ](?:second|minute)) tour|walk-?through|(?:a |take a )?(?:closer )?look (?:inside"
        rf"|closely|at what)|take a look|up close|close-?up"
        r"|see the (?:difference|results?|proof)|(?:here's|this is|see) what [ -~]{1,50}\b(?:looks? like|does|do)\b|on camera|time-?lapse"
        r"|slow motion|what [ -~]{1,30} looks like",
    ),
    Rule("demonstration", 0.45, r"watch(?:ing)?|this is how|experiments?|tested|explain(?:s|ed)? in|on video|real time"),
    Rule("demonstration", 0.35, r"look(?:s)?|see|show(?:s|ed)?|video|test|inside"),
    # The making of the film, a trial of strength, one thing under two treatments.
    Rule(
        "demonstration",
        0.65,
        r"look (?:what|at what|closely|closer)|zoom in|we filmed|caught on (?:camera|film)|how it (?:works|folds|fits|moves|sounds|opens|looks)"
        r"|same [a-z]+, (?:two|three|different|one|new)|^(?:dropped|soaked|boiled|frozen|crushed|driven|tested|scratched|buried) (?:from|in|on"
        r"|over|for|by)|no (?:cuts|edits|filters?|tricks)"
        r"|before your eyes|in 3d|360|the making of|being made|how (?:it's|they're|we) (?:made|make)|will it [a-z]+|press play|sound on"
        r"|under (?:the|a) microscope|versus|(?:unfolds|folds|opens|sets up) in [a-z0-9]+",
    ),
)
