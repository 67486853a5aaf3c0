"""The study ``lion_adamw``: does memory (anti-)regularise, and how do the two compare when tuned alike?"""
