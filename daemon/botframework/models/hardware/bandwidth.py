"""How fast common GPUs and Apple's chips read their memory, in GB/s at peak, by name.

NVIDIA's driver tells this of its own cards (`nvidia.Nvidia`), so the table is for the others, and for NVIDIA's cards
where the driver keeps silent. Each block names the address at which its figures were seen. A name that stands for cards
of different speeds is left out (GeForce RTX 3060, 3080, 4070, Arc A770), as is one that was not seen: unknown is better
than wrong. The Max chips of Apple's come in two speeds under one name; the lower one is here.
"""

from __future__ import annotations

import re

_SEEN: tuple[tuple[str, dict[str, float]], ...] = (
    ("https://github.com/ggml-org/llama.cpp/pull/1642", {"m1": 68.2}),
    (
        "https://mybroadband.co.za/news/hardware/418862-apple-m1-pro-and-m1-max-new-chips-powering-the-macbook-pro.html",
        {"m1 pro": 200, "m1 max": 400},
    ),
    ("https://thetechportal.com/2022/03/09/apple-mac-studio-display-m1-ultra-chip/", {"m1 ultra": 800}),
    (
        "https://abachy.com/news/apples-m3-series-chips-enhanced-performance-and-advanced-gpus",
        {"m2": 100, "m3": 100},
    ),
    (
        "https://www.macrumors.com/2023/01/18/things-to-know-about-m2-pro-m2-max/",
        {"m2 pro": 200, "m2 max": 400},
    ),
    (
        "https://blog.patti.tech/2023/06/05/as-rumored-the-mac-studio-gets-an-m2-refresh-including-fused-together-m2-ultra",
        {"m2 ultra": 800},
    ),
    (
        "https://www.macrumors.com/2023/10/31/apple-m3-pro-less-memory-bandwidth/",
        {"m3 pro": 150, "m3 max": 300},
    ),
    ("https://www.neowin.net/news/apple-launches-new-m4-pro-and-m4-max-processors/", {"m4": 120, "m4 pro": 273}),
    ("https://english.worldmagazine.it/431260", {"m4 max": 410, "m3 ultra": 819}),
    (
        (
            "https://www.techradar.com/pro/the-true-pro-tax-m5-pro-vs-m5-max-why-that-extra-275gb-s-of-memory-bandwidth-"
            "is-worth-thousands-of-dollars-for-video-and-ai-workflows"
        ),
        {"m5": 153},
    ),
    (
        "https://hexus.net/tech/news/graphics/148164-amd-set-release-radeon-rx-6600-xt-379/",
        {"rx 5700 xt": 448, "rx 6600 xt": 256, "rx 6700 xt": 384, "rx 6800": 512, "rx 6800 xt": 512, "rx 6900 xt": 512},
    ),
    (
        "https://swavedigest.com/amd-radeon-rx-6950-xt-6760-xt-and-6650-xt-deliver-faster-memory-and-clocks-to-gamers",
        {"rx 6750 xt": 432, "rx 6950 xt": 576},
    ),
    ("https://propakistani.pk/2023/05/25/amds-new-radeon-rx-7600-gpu-starts-at-only-269/", {"rx 7600": 288}),
    # Both from the memory's speed and the width of its bus.
    ("https://www.tomshardware.com/reviews/amd-radeon-rx-7800-xt-review", {"rx 7700 xt": 432, "rx 7800 xt": 624}),
    (
        "https://raytubefixes.com/amd-radeon-rx-7900-xt-the-ultimate-gaming-graphics-card/",
        {"rx 7900 xt": 800},
    ),
    (
        "https://github.com/stillwater-sc/kpu-sim/blob/main/docs/design/amd-gpu-products.md",
        {"rx vega 64": 484, "vii": 1024, "rx 7900 xtx": 960},
    ),
    (
        "https://multiplayer.it/notizie/amd-radeon-rx-9070-xt-rx-9070-specifiche.html",
        {"rx 9070": 640, "rx 9070 xt": 640},
    ),
    (
        (
            "https://www.notebookcheck.com/Leak-AMD-Radeon-RX-9060-XT-startet-im-Mai-soll-16-GB-GDDR6-zum-attraktiven-Preis-"
            "bieten.1007260.0.html"
        ),
        {"rx 9060 xt": 320},
    ),
    (
        "https://docs.vultr.com/inference-cookbook/rocm/getting-started/hardware-requirements",
        {"mi300x": 5300, "mi325x": 6000},
    ),
    (
        "https://www.svethardware.cz/intel-zverejnil-oficialni-specifikace-grafickych-karet-arc/58344",
        {"arc a380": 186, "arc a580": 512, "arc a750": 512},
    ),
    ("https://fpsbench.com/compare/gpu/intel-arc-b580-vs-intel-uhd-graphics-730", {"arc b580": 456}),
    (
        "https://github.com/CYBIRD-D/How-to-Choose-your-LLM-Model-for-translation/blob/main/Nvidia_GPU_Specification.md",
        {
            "rtx 3070": 448,
            "rtx 3070 ti": 608,
            "rtx 3080 ti": 912,
            "rtx 3090": 936,
            "rtx 3090 ti": 1008,
            "rtx 4060": 272,
            "rtx 4060 ti": 288,
            "rtx 4070 super": 504,
            "rtx 4070 ti": 504,
            "rtx 4070 ti super": 672,
            "rtx 4080": 716.8,
            "rtx 4080 super": 736,
            "rtx 4090": 1008,
            "rtx 5060": 448,
            "rtx 5060 ti": 448,
            "rtx 5070": 672,
            "rtx 5070 ti": 896,
            "rtx 5080": 960,
            "rtx 5090": 1792,
        },
    ),
)

_GB_S = {name: gb_s for _, names in _SEEN for name, gb_s in names.items()}

_BRACKETS = re.compile(r"\([^)]*\)")
"""Trade marks, and what Vulkan's drivers add to a name: ``AMD Radeon RX 6800 (RADV NAVI21)``."""
_BRANDS = frozenset({"nvidia", "geforce", "amd", "radeon", "instinct", "intel", "graphics", "gpu", "apple"})


def known_bandwidth(name: str) -> float | None:
    """GB/s at peak, by the name that a driver gives to a GPU or macOS to its chip; None: not in the table."""
    return _GB_S.get(plain_name(name))


def plain_name(name: str) -> str:
    """Leave of a name what tells it from its sisters: the drivers of one card spell its maker differently."""
    words = _BRACKETS.sub(" ", name).lower().split()
    return " ".join(word for word in words if word not in _BRANDS) or name.lower()
