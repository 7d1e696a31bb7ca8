"""`crishim page`: show the node in a browser; a client of the daemon, with a web server of its own.

In the order a response is made: observer.py asks the daemon (calls.py), facts.py selects what is shown of its messages,
device_states.py has the states of a device, picture.py and sections.py render them with markup.py, which escapes text,
document.py makes the page. answers.py has HTTP responses and access control, server.py the connections; command.py is
the command. page.css and page.js are sent unchanged.
"""
