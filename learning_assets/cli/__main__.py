"""`python -m learning_assets.cli`."""

from learning_assets.cli import app

if __name__ == "__main__":
    app()
