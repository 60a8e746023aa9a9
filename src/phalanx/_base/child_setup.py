"""What every child does before it comes near the user's program, as its parent did: aliasing, for example.

Each step is a name, `module:function`, so that it can be handed to a fresh interpreter by any start method.
"""

__all__ = ["register", "run", "steps"]

_steps: list[str] = []


def register(step: str) -> None:
    """Children started from here on take that step first; and so do theirs."""
    if step not in _steps:
        _steps.append(step)


def steps() -> list[str]:
    """What to hand to a child."""
    return list(_steps)


def run(steps_of_parent: list[str]) -> None:
    """In the child: take the steps, and keep them for its own children."""
    if steps_of_parent:
        from importlib import import_module
    for step in steps_of_parent:
        register(step)
        module, _, function = step.partition(":")
        getattr(import_module(module), function)()
