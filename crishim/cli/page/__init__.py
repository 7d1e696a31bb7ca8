"""`crishim page`: the node as a picture, in a browser; a client of the daemon, which knows nothing of it.

In the order an answer is made: observer.py asks the daemon (calls.py), facts.py says what is worth showing of its
messages and device_way.py how far a device has come, picture.py and sections.py draw and write it with markup.py,
which escapes all that is text, document.py puts the page together. answers.py knows HTTP and who may read, server.py
the connections; command.py is the command. page.css and page.js are sent as they are.
"""
