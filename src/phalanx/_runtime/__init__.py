"""What a pool is made of: decisions without I/O (machine, jobs, events), and the shell that does the waiting.

README.md has the protocol. What runs in the parent: shell, crew, records; in a worker: worker, records, failures.
"""

__all__: list[str] = []
