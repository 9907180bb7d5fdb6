#include "fusefs/vfs/observer.h"

namespace linkspan::vfs {

Result<Attr> TreeObserver::node(const Caller& c, Ino ino) {
  LINKSPAN_TRY(const KnownNode known, tree_->node(begin(c), ino));
  return shown(*options_, known.node.attr);
}

Result<std::optional<Attr>> TreeObserver::name(const Caller& c, Ino dir, const std::string& name) {
  LINKSPAN_TRY(const KnownName known, tree_->lookup(begin(c), cache::Name{dir, name}));
  if (!known.node) return std::optional<Attr>();
  return std::optional<Attr>(shown(*options_, known.node->attr));
}

Result<Observer::Page> TreeObserver::page(const Caller& c, Ino dir, Cookie after, size_t limit) {
  LINKSPAN_TRY(KnownPage known, tree_->page(begin(c), dir, after, limit));
  Page page;
  page.end = known.end;
  for (KnownPage::Entry& entry : known.entries)
    page.entries.push_back(
        {std::move(entry.name), entry.cookie, shown(*options_, entry.node.attr)});
  return page;
}

std::optional<Ino> TreeObserver::known_name(Ino dir, const std::string& name) {
  return tree_->known_name(cache::Name{dir, name});
}

std::optional<RevokedName> TreeObserver::last_name(Ino ino) {
  const auto last = tree_->last_name(ino);
  if (!last) return std::nullopt;
  return RevokedName{last->parent, last->name};
}

}  // namespace linkspan::vfs
