"""Commands of `olsim`: one module each, a plain function with typer annotations."""
