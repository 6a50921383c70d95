#include "titan/pickle/pickle_writer.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "titan/pickle/pickle.h"

namespace titan::pickle {
namespace {

TEST(PickleWriter, IsReadBackThroughTheMemoBeyond256Entries) {
  PickleWriter writer(4);
  writer.empty_list();
  writer.mark();
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 400; ++i) writer.string("text " + std::to_string(i) + std::string(i == 399 ? 300 : 0, 'x'));
  }
  writer.append_from_mark();
  const std::string bytes = writer.finish();
  const Pickle pickle(std::as_bytes(std::span(bytes)), "x", 0, [](std::string_view) { return false; });
  ASSERT_EQ(pickle.root().items.size(), 800u);
  for (int i = 0; i < 400; ++i) EXPECT_EQ(pickle.root().items[i]->text, pickle.root().items[400 + i]->text);
  EXPECT_TRUE(pickle.root().items[7]->text == "text 7");
}

}  // namespace
}  // namespace titan::pickle
