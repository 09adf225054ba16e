"""The policy: what the YAML says, as a frozen typed tree. If it exists, it is sound."""
