"""``python -m real2sim``, which is also what ``accelerate launch -m real2sim`` starts."""

from real2sim.cli import main

if __name__ == "__main__":
    main()
