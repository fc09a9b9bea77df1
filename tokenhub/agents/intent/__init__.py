"""From a plain sentence to one exact command that even a very small model cannot get wrong in form.

Owns: what a sentence names (`mentions.py`, `dates.py`), which values each argument may take (`slots.py`), whole commands
that are valid before a model sees them (`options.py`), the request under whose schema a model chooses among them
(`choice.py`), and `hub commands offer` (`verbs.py`). Never: runs anything or calls a model by itself; what is
chosen goes through the one door like every other command. Decision 0019. Start at `options.py`.

    options = options_of(registry, "ask Ana to order paper by Friday", people=["Ana"], now=now, allows=may)
    answer = complete({"model": model, **request_for(text, options)})       # POST /v1/chat/completions
    chosen = chosen_from(answer["choices"][0]["message"]["content"], options)  # always one of them
"""
