"""Media files of the served ads, by the names that their addresses have: made when they are first asked for, and kept a while.

What belongs here: which file a name stands for. What does not: what is in it (`sandbox.media`), and HTTP (`app`).
"""

import re
import threading
from collections import OrderedDict

from learning_assets.sandbox import media
from learning_assets.sandbox.graph.world import World

KEPT = 64
"""Files that are kept in memory, those asked for last."""
_NAME = re.compile(r"(vid|img|thumb)_(\d{1,18})\.(mp4|png|jpg)")
_THUMBNAIL_SIDE = 64


class NoMedia(Exception):
    """There is no such file; the message says why."""


class Files:
    """The media of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._making = threading.Lock()

    def get(self, name: str) -> tuple[bytes, str]:
        """A file and its content type. Making one takes a second or so, and one is made at a time.

        Raises
        ------
        NoMedia : the market has no such video or creative, or the extra `media` is not installed.
        """
        asked = _NAME.fullmatch(name)
        if asked is None or self._world.account_of(asked[2]) is None:
            raise NoMedia("Bad URL")
        kind, entity, _ = asked.groups()
        with self._making:
            if name not in self._made:
                try:
                    self._made[name] = self._make(kind, entity)
                except ImportError as error:
                    raise NoMedia("The simulated platform has no media: install learning_assets[media].") from error
                if len(self._made) > KEPT:
                    self._made.popitem(last=False)
            self._made.move_to_end(name)
            return self._made[name], {"vid": "video/mp4", "img": "image/png", "thumb": "image/jpeg"}[kind]

    def _make(self, kind: str, entity: str) -> bytes:
        seed = self._world.market.params.seed
        if kind == "vid":
            return media.video(media.film_of(seed, entity))[0]
        if kind == "thumb":
            return media.picture(seed, entity, side=_THUMBNAIL_SIDE, kind="jpeg")[0]
        return media.picture(seed, entity)[0]
