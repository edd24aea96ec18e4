"""All tables, one after the other: `python -m benches`; about half an hour on two quiet cores."""

from . import lenet5, memory, nets, ops, overhead, startup
from .results import place

print(place())
for each in (lenet5, nets, overhead, ops, startup, memory):
    print(f"\n{(each.__doc__ or '').splitlines()[0]}\n")
    each.main()
