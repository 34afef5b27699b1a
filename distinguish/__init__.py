"""Whether a hoster can tell audits from readers: it is given all that it sees, and learns."""
