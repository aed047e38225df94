"""Languages by their codes: OpenAI's API names them by ISO 639-1, a model is told them in English."""

from __future__ import annotations

from auricle.server.failures import ApiError

NAMES = dict(
    pair.split("=")
    for pair in (
        "af=Afrikaans ar=Arabic hy=Armenian az=Azerbaijani be=Belarusian bs=Bosnian bg=Bulgarian ca=Catalan zh=Chinese "
        "hr=Croatian cs=Czech da=Danish nl=Dutch en=English et=Estonian fi=Finnish fr=French gl=Galician de=German "
        "el=Greek he=Hebrew hi=Hindi hu=Hungarian is=Icelandic id=Indonesian it=Italian ja=Japanese kn=Kannada "
        "kk=Kazakh ko=Korean lv=Latvian lt=Lithuanian mk=Macedonian ms=Malay mr=Marathi mi=Maori ne=Nepali "
        "no=Norwegian fa=Persian pl=Polish pt=Portuguese ro=Romanian ru=Russian sr=Serbian sk=Slovak sl=Slovenian "
        "es=Spanish sw=Swahili sv=Swedish tl=Tagalog ta=Tamil th=Thai tr=Turkish uk=Ukrainian ur=Urdu vi=Vietnamese "
        "cy=Welsh bn=Bengali ka=Georgian gu=Gujarati te=Telugu ml=Malayalam pa=Punjabi am=Amharic my=Burmese "
        "km=Khmer lo=Lao mn=Mongolian si=Sinhala sq=Albanian eu=Basque ga=Irish la=Latin mt=Maltese yi=Yiddish "
        "yo=Yoruba ha=Hausa so=Somali sn=Shona zu=Zulu xh=Xhosa uz=Uzbek tg=Tajik tk=Turkmen tt=Tatar ps=Pashto "
        "sd=Sindhi sa=Sanskrit lb=Luxembourgish jv=Javanese su=Sundanese"
    ).split()
)


def language_name(given: str) -> str:
    """`en`, `en-GB` or `English` -> "English".

    Raises:
        ApiError: 400 for one that isn't known.
    """
    plain = given.strip()
    code = plain.lower().partition("-")[0].partition("_")[0]
    if code in NAMES:
        return NAMES[code]
    if plain.title() in NAMES.values():
        return plain.title()
    raise ApiError(
        400,
        f"language is {given[:40]!r}: give its code of ISO 639-1, such as en, or its English name",
        param="language",
    )
