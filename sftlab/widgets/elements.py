"""What the browser's side of several controls shares."""

# A node of this tag with these properties and this text, at the end of its parent.
MAKE = """
    function make(tag, parent, props = {}, text = "") {
      const node = Object.assign(document.createElement(tag), props);
      if (text) node.textContent = text;
      parent.append(node);
      return node;
    }
"""
