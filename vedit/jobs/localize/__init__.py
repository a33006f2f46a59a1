"""From a clip and where it should go to four kinds of edits of it, side by side: figure 2-1 of the thesis.

request.py   what is asked for          recipe.py   the branches, from a preset
words.py     captions and prompts, which the branches share
run.py       plan(request) -> LocalizePlan, whose run makes edits, scores and the page
report.py    the page
"""
