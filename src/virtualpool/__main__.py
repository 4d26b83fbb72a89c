"""`python -m virtualpool`: the command, for launchers that start a module.

So `accelerate launch -m virtualpool tune ...` runs it in several processes.
"""

from virtualpool.cli import main

if __name__ == "__main__":
    main()
