"""The dashboard, a front of its own: `qlifq dashboard` starts it, and nobody imports it.

What a page shows is a function of its view, a frozen value that comes from the address or from the widgets. The modules
`*_page` are all that knows Streamlit's page; the others turn views into numbers, charts and code, and run without a browser.
"""
