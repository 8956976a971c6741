"""Clients' files are opened in processes of their own, which may hang, grow or crash."""
