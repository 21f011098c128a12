"""How one asset is removed: look, judge, delete."""
