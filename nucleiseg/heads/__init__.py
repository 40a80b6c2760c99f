"""Heads: what a network is trained to put out, and how that becomes nuclei."""

from nucleiseg.heads.head import Head, get_head, list_heads, register_head

__all__ = ["Head", "get_head", "list_heads", "register_head"]
