"""Embeddings: what is asked, and vectors in the form that was asked for."""
