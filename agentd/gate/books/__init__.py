"""The books held against the upstream's own, beside the calls: settlement, the key's account, the lists of models, alarms."""
