//! Order-book features, the controller and the quoter: book and fills in, order intents out.
