"""Moving real budgets: what is known before a move, the move itself, resolving what is unknown, and taking back.

What belongs here: carrying out what decisions ask for, under the guards of `learning.guards`, with the ledger of `store.ledger`, on the budgets of a platform.
What does not: the decisions, the guards' rules, and who starts it (`automation`, `cli`).
"""
