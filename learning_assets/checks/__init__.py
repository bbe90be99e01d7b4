"""Asset checks: what must hold of a day that was written. Blocking ones stop what rests on it."""
