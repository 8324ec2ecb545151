"""The LSP door: JSON-RPC over stdio, bound to the manager."""
