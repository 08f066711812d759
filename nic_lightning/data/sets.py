"""The published image sets that the catalogue knows: source, licence, layout and checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_CLIC_SITE = "https://www.compression.cc"
_CLIC_FILES = "https://data.vision.ee.ethz.ch/cvl/clic"
_CLIC_LICENCE = {
    "professional": "Unsplash (upstream)",
    "mobile": "not stated",
}


@dataclass(frozen=True)
class CatalogEntry:
    """One image set.

    `folders` are searched with their sub-folders, `flat` ones without, all below the data root (below the
    installed package's folder if `package` is set). Only files that match `pattern` count.
    """

    name: str
    title: str
    source: str
    licence: str
    folders: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    pattern: str = "*"
    count: int | None = None
    """Images in the complete set; None where no official number is known."""
    files: Mapping[str, str] = field(default_factory=dict)
    """File name -> SHA-256, where the checksums are known. Then these files alone belong to the set."""
    package: str | None = None


def _clic(year: int, kind: str, split: str, count: int | None, archive: str | None) -> CatalogEntry:
    source = f"{_CLIC_FILES}/{archive}" if archive else _CLIC_SITE
    return CatalogEntry(
        name=f"clic{year}_{kind}_{split}",
        title=f"CLIC {year} {kind}, {split}",
        source=source,
        licence=_CLIC_LICENCE[kind],
        folders=(f"clic{year}/{kind}/{split}",),
        count=count,
    )


def _clic_sets() -> list[CatalogEntry]:
    """CLIC 2019 trains and validates on the files of 2018; 2020 re-released them.

    Counts: 585 + 1,048 training, 41 + 61 validation and 250 + 178 test images of 2020 (1,633, 102 and 428
    in the challenge's own totals); the 226 professional test images of 2019 as used by the modulated
    autoencoder.
    """
    return [
        _clic(2019, "professional", "train", 585, "professional_train.zip"),
        _clic(2019, "professional", "valid", 41, "professional_valid.zip"),
        _clic(2019, "professional", "test", 226, None),
        _clic(2019, "mobile", "train", 1048, "mobile_train.zip"),
        _clic(2019, "mobile", "valid", 61, "mobile_valid.zip"),
        _clic(2019, "mobile", "test", None, None),
        _clic(2020, "professional", "train", 585, "professional_train_2020.zip"),
        _clic(2020, "professional", "valid", 41, "professional_valid_2020.zip"),
        _clic(2020, "professional", "test", 250, "test/CLIC2020Professional_test.zip"),
        _clic(2020, "mobile", "train", 1048, "mobile_train_2020.zip"),
        _clic(2020, "mobile", "valid", 61, "mobile_valid_2020.zip"),
        _clic(2020, "mobile", "test", 178, "test/CLIC2020Mobile_test.zip"),
        CatalogEntry(
            name="clic2020_test",
            title="CLIC 2020 professional and mobile, test, and loose files in clic2020/",
            source=f"{_CLIC_FILES}/test/",
            licence="Unsplash (upstream)",
            folders=("clic2020/professional/test", "clic2020/mobile/test"),
            flat=("clic2020",),
            count=428,
        ),
    ]


_EMBEDDED_SOURCE = "inside the wheel of https://scikit-image.org, no download"


def _embedded(suffix: str, title: str, licence: str, files: dict[str, str]) -> CatalogEntry:
    return CatalogEntry(
        name=f"embedded{suffix}",
        title=title,
        source=_EMBEDDED_SOURCE,
        licence=licence,
        flat=("data",),
        count=len(files),
        files=files,
        package="skimage",
    )


_EMBEDDED_SETS = [
    _embedded(
        "",
        "held-out photographs inside the scikit-image wheel",
        "CC0 (S. van der Walt; R. Michetti)",
        {
            "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        },
    ),
    _embedded(
        "_valid",
        "validation photograph inside the scikit-image wheel",
        "public domain (SpaceX)",
        {"rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"},
    ),
    # The two views of the motorcycle show the same scene: they stand on the same side of the split.
    _embedded(
        "_train",
        "training photographs inside the scikit-image wheel",
        "public domain or CC0; motorcycle: Middlebury Stereo 2014",
        {
            "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
            "ihc.png": "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
            "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
            "retina.jpg": "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        },
    ),
]

_KODAK = CatalogEntry(
    name="kodak",
    title="Kodak PhotoCD PCD0992, 24 photographs of 768x512 or 512x768",
    source="https://r0k.us/graphics/kodak/",
    licence="released by Kodak for unrestricted usage",
    folders=("kodak",),
    count=24,
    files={
        "kodim01.png": "a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd",
        "kodim02.png": "4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd",
        "kodim03.png": "e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db",
        "kodim04.png": "e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa",
        "kodim05.png": "10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53",
        "kodim06.png": "363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18",
        "kodim07.png": "b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4",
        "kodim08.png": "ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7",
        "kodim09.png": "6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d",
        "kodim10.png": "9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23",
        "kodim11.png": "7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6",
        "kodim12.png": "d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980",
        "kodim13.png": "bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08",
        "kodim14.png": "55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e",
        "kodim15.png": "7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683",
        "kodim16.png": "a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54",
        "kodim17.png": "37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b",
        "kodim18.png": "1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa",
        "kodim19.png": "b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc",
        "kodim20.png": "3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a",
        "kodim21.png": "ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b",
        "kodim22.png": "1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29",
        "kodim23.png": "e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf",
        "kodim24.png": "1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96",
    },
)

_TECNICK = CatalogEntry(
    name="tecnick",
    title="Tecnick TESTIMAGES, 100 photographs of 1200x1200",
    source="https://sourceforge.net/projects/testimages/files/OLD/OLD_SAMPLING/testimages.zip",
    licence="CC BY-NC-SA 3.0",
    folders=("tecnick",),
    pattern="RGB_OR_1200x1200_*.png",
    count=100,
)

_STARGAN_FILES = "https://www.dropbox.com/s"


def _domains(name: str, split: str, title: str, source: str, licence: str, count: int) -> CatalogEntry:
    """Faces of several domains, a folder each, as translation trains on them (conf/data)."""
    folders = (f"{name}/{split}",)
    return CatalogEntry(f"{name}_{split}", f"{title}, {split}", source, licence, folders, count=count)


def _domain_sets() -> list[CatalogEntry]:
    """The sets of StarGAN v2. Checksums are those of the archives; none is known for AFHQ v2's."""
    celeba = (
        "celeba_hq",
        "CelebA-HQ, female and male",
        f"{_STARGAN_FILES}/f7pvjij2xlpff59/celeba_hq.zip "
        "(SHA-256 f56b0d8c505aa01ec4792f8ee2fc2ca128e2cc669277438c0b27d5d69b7e4514)",
        "non-commercial research",
    )
    afhq = (
        "afhq",
        "animal faces: cat, dog, wild",
        f"{_STARGAN_FILES}/t9l9o3vsx2jai3z/afhq.zip "
        "(SHA-256 7f63dcc14ef58c0e849b59091287e1844da97016073aac20403ae6c6132b950f)",
        "CC BY-NC 4.0",
    )
    second = ("afhq_v2", "animal faces, second version", f"{_STARGAN_FILES}/vkzjokiwof5h8w6/afhq_v2.zip", afhq[3])
    counts = [(celeba, "train", 28_000), (celeba, "val", 2_000), (afhq, "train", 14_630), (afhq, "val", 1_500)]
    counts += [(second, "train", 14_336), (second, "test", 1_467)]
    return [_domains(s[0], split, s[1], s[2], s[3], count) for s, split, count in counts]


_ALL = [*_EMBEDDED_SETS, _KODAK, _TECNICK, *_clic_sets(), *_domain_sets()]
CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ALL}
"""Every known set by name."""
