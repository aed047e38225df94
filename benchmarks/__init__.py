"""What the README's tables are made from: each module measures one thing and writes JSON with versions and hardware."""
