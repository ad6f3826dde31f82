"""What keeps an appliance whole: updates of its two slots, growth at first boot, factory reset.

It is copied onto the image and runs there as ``maculaos-update``; nothing of it is in the wheel.
It decides about slots and the folders of the machine, and leaves what runs on it to the reconciler.
"""
