"""A small Flask application: ordinary code, with nothing of logs but loggers. README.md says what it is for."""

import logging

from flask import Flask

app = Flask("shop")
orders = logging.getLogger("shop.orders")


@app.get("/buy/<int:number>")
def buy(number):
    orders.info("order %d", number, extra={"order": number})
    return "bought\n"
