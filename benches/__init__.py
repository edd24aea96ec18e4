"""How fast autograph is, beside torch and JAX on the same cores: `python -m benches`."""
