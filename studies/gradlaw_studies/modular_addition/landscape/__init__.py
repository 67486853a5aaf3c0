"""The landscape around constructions: free directions, connecting paths, barriers."""
