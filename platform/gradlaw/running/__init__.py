"""From a plan to a store that holds it: what is missing, launched until nothing is; and measuring again."""
