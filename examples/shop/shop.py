"""A small shop: ordinary Flask and ordinary `logging.getLogger`. Nothing here sets up a log.

Under `gunicorn --logger-class logboom.gunicorn.Logger shop:app` all of it goes where `logboom.toml` says: these
records, the server's, one for each request, and what is printed. `before.py` is the same shop with what most Flask
projects do instead. A failure of the shop itself is a Flask error page and a traceback in the log, as ever.
"""

import logging
import os
import time

from flask import Flask, abort, redirect, render_template, request, session, url_for

catalogue_log = logging.getLogger("shop.catalogue")
cart_log = logging.getLogger("shop.cart")
supplier_log = logging.getLogger("shop.supplier")
checkout_log = logging.getLogger("shop.checkout")
invoice_log = logging.getLogger("shop.invoices")

app = Flask("shop", root_path=os.path.dirname(os.path.abspath(__file__)))
app.secret_key = os.environ.get("SHOP_SECRET", "only for this example")

PRODUCTS = {
    1: {"name": "Peavey", "text": "The driver's tool: a spike and a hook to roll logs.", "cents": 8900},
    2: {"name": "Pike pole", "text": "Four metres of ash, for logs out of reach.", "cents": 6450},
    3: {"name": "Caulk boots", "text": "Spiked soles. The wet log stays under you.", "cents": 21900},
    4: {"name": "Boom chain", "text": "Holds two boom sticks together.", "cents": 3275},
}


class PaymentRefused(Exception):
    """The bank said no."""


@app.before_request
def note_request():
    app.logger.debug("%s %s from %s", request.method, request.path, request.remote_addr)


@app.after_request
def note_answer(response):
    app.logger.info("%s %s -> %d", request.method, request.path, response.status_code)
    return response


@app.get("/")
def front_page():
    catalogue_log.info("front page with %d products", len(PRODUCTS))
    return render_template("shop.html", products=PRODUCTS, cart=session.get("cart", {}))


@app.get("/product/<int:number>")
def product_page(number):
    product = PRODUCTS.get(number) or abort(404)
    catalogue_log.info("product %d shown: %s", number, product["name"])
    return render_template("shop.html", products={number: product}, cart=session.get("cart", {}))


@app.post("/cart/<int:number>")
def put_in_cart(number):
    product = PRODUCTS.get(number) or abort(404)
    cart = session.setdefault("cart", {})
    cart[str(number)] = cart.get(str(number), 0) + 1
    session.modified = True
    cart_log.info("%s put in the cart, now %d pieces", product["name"], sum(cart.values()))
    for key, count in cart.items():
        cart_log.debug("cart line: %d x product %s", count, key)
    return redirect(url_for("front_page"))


@app.get("/stock/<int:number>")
def stock(number):
    """Asks the supplier, who is slow."""
    product = PRODUCTS.get(number) or abort(404)
    supplier_log.debug("asking the supplier for %s", product["name"])
    started = time.monotonic()
    pieces = ask_supplier(number)
    took_ms = (time.monotonic() - started) * 1000
    supplier_log.log(logging.WARNING if took_ms > 60 else logging.INFO, "supplier answered in %.1f ms", took_ms)
    return {"product": product["name"], "pieces": pieces}


def ask_supplier(number):
    """Stands for a call over the network: 20 to 70 ms during which the worker waits."""
    time.sleep(0.02 + time.time_ns() % 50 / 1000)
    print(f"supplier says {7 * number}")  # somebody forgot to take it out; it becomes a record, too
    return 7 * number


@app.post("/checkout")
def checkout():
    """Fails, and leaves a traceback in the log."""
    checkout_log.info("charging %d cents", total_cents(session.get("cart", {})))
    charge(session.get("cart", {}))
    return redirect(url_for("front_page"))


def total_cents(cart):
    return sum(PRODUCTS[int(number)]["cents"] * count for number, count in cart.items())


def charge(cart):
    raise PaymentRefused(f"card refused for {total_cents(cart)} cents")


@app.get("/invoice/<int:number>")
def invoice(number):
    """Takes half a minute: long enough for the worker to be killed meanwhile."""
    invoice_log.info("writing the invoice %d", number)
    for line in range(1, 3001):
        invoice_log.debug("line %d of the invoice %d", line, number)
        time.sleep(0.01)
    return {"invoice": number}
