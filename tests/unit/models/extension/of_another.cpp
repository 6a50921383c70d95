// A library of models that another titan.cpp's headers made: of the symbol, only the first member is known to be there.
struct StampOnly {
  const char* built_for;
};
extern "C" const StampOnly titan_extension;
const StampOnly titan_extension{.built_for = "0.0.1-x"};
