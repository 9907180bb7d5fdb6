// What local programs that watch (inotify) are to be told of changes by others. Each call returns
// when the events are raised; `busy`: what it is about changed again meanwhile, try once more.
#pragma once

#include <string>

#include "linkspan/error.h"
#include "linkspan/types.h"

namespace linkspan::fuse {

class Nudges {
 public:
  virtual ~Nudges() = default;

  // Names in a watched directory: as if somebody here had made, removed (`gone`: the node has no
  // name left), renamed onto, written and closed, or changed the attributes of it.
  virtual Status created(Ino dir, const std::string& name, const Attr& now) = 0;
  virtual Status removed(Ino dir, const std::string& name, const Attr& before, bool gone) = 0;
  virtual Status replaced(Ino dir, const std::string& name, const Attr& now) = 0;
  virtual Status modified(Ino dir, const std::string& name, const Attr& now) = 0;
  virtual Status attributes(Ino dir, const std::string& name) = 0;

  // A watched node that is no directory, wherever it is.
  virtual Status node_modified(const Attr& now) = 0;
  virtual Status node_attributes(const Attr& now) = 0;
  virtual Status node_lost(const Attr& before) = 0;

  // A watched directory itself.
  virtual Status directory_attributes(Ino dir) = 0;
  virtual Status directory_lost(const Attr& before) = 0;
};

}  // namespace linkspan::fuse
