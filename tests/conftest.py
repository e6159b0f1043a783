"The order of the tests."

def pytest_collection_modifyitems(items):
    "Browser tests come last: Playwright keeps an event loop in the main thread, in which `asyncio.run` is refused"
    items.sort(key=lambda o: 'browser' in o.path.parts)
