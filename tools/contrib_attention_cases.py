"""Cases of make_contrib_goldens.py: attentions and rotary embedding."""


def write_cases():
    pass
