"""Alerts to people: Slack where it is configured, the log otherwise. Figures, ids and remedies only."""

import logging
from typing import Protocol

from learning_assets.settings import Settings

_LOG = logging.getLogger("learning_assets.alerts")


class Notifier(Protocol):
    """Sends one alert."""

    def send(self, text: str) -> None:
        """Send plain text; what came from outside is escaped."""
        ...


class LogNotifier:
    """Writes alerts to the log."""

    def send(self, text: str) -> None:
        """Write the alert as a warning."""
        _LOG.warning(text)


class SlackNotifier:
    """Posts alerts to a Slack channel through dagster-slack."""

    def __init__(self, token: str, channel: str) -> None:
        self._token = token
        self._channel = channel

    def send(self, text: str) -> None:
        """Post the alert. Raises what the Slack client raises; the sensor's tick then shows it."""
        from dagster_slack import SlackResource

        SlackResource(token=self._token).get_client().chat_postMessage(channel=self._channel, text=escape(text))


def escape(text: str) -> str:
    """Text as Slack shows it literally (https://api.slack.com/reference/surfaces/formatting#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def outside(text: str) -> str:
    """A name or id from outside as it may stand in an alert: one line of printable characters, at most 80, and no address that becomes a link."""
    plain = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return (plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…").replace("://", ":\u200b//")


_LONGEST = 80


def notifier(settings: Settings) -> Notifier:
    """The notifier that the settings ask for."""
    token = settings.automation.slack_token
    return LogNotifier() if token is None else SlackNotifier(token.get_secret_value(), settings.automation.slack_channel)
