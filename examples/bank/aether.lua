return {
  store = "sqlite:data/events.db",
  namespaces = {
    bank = { modules = "bank", retry = "patient" },
  },
}
