"""SQL over run folders: the tables that they give, and a database that can read nothing else."""
