return {
  store = "sqlite:data/events.db",
  namespaces = {
    packages = { modules = "packages" },
  },
}
