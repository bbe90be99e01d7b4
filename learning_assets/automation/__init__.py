"""What starts runs: jobs, schedules, sensors, replay, and the alerts that they send."""
