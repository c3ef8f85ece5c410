"""Attribution: which documents, contributors and adapters an answer is owed to, and what that is worth in money."""
