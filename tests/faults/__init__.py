"""The fault harness: real runs on the digits, killed, damaged and disturbed (`make faults`)."""
