"""The shipped policies and how a test reads them, here where the paths of a container do not exist."""

from pathlib import Path

from proxy.policy.reader import Loaded, read_policy

DEPLOY = Path(__file__).parents[2] / "deploy"
POLICIES = {
    "compose": DEPLOY / "compose/policy/policy.yaml",
    "kubernetes": DEPLOY / "kubernetes/base/policy.yaml",
    "systemd": DEPLOY / "systemd/policy.yaml",
}
SECRET_FOLDERS = ("/etc/hookgate-secrets/", "/run/credentials/hookgate.service/")
SECRET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"  # noqa: S105 - of tests alone


def load(file: Path, folder: Path) -> Loaded:
    """Reads a shipped policy with its secret under ``folder``, because the paths of a container do not exist here."""
    (folder / "telegram-2026-11").write_text(SECRET)
    text = file.read_text()
    for mounted in SECRET_FOLDERS:
        text = text.replace(mounted, f"{folder}/")
    copy = folder / "policy.yaml"
    copy.write_text(text)
    return read_policy(copy, {"TELEGRAM_SECRET": SECRET})
