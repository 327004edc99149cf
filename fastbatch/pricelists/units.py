"""genai-prices' names of what is priced, and ours; what is not here has no rate with us."""

from __future__ import annotations

TOKENS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "written",
    "cache_write_1h_mtok": "written_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio",
    "cache_audio_read_mtok": "cached_audio",
    "output_audio_mtok": "spoken",
    "input_image_mtok": "image",
    "cache_image_read_mtok": "cached_image",
    "output_image_mtok": "drawn",
    "input_video_mtok": "video",
    "output_video_mtok": "filmed",
}
"""By the million tokens."""

PIECES = {"requests_kcount": "request", "web_searches_kcount": "search"}
"""By the thousand."""

UNCOUNTED = ("_hours", "_kpages", "_mchars", "_gpixels", "_messages_kcount")
"""How units end that a reply's usage does not count: a model that is paid by one of them is not priced."""
