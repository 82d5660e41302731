// The form for those who come without a ticket in the address.
import * as api from './api.js';
import {busy, h} from './dom.js';

// signIn returns the form; done is called after a success.
export function signIn({message, hint, done}) {
  const secret = h('input', {id: 'secret', type: 'password', autocomplete: 'off', required: true, spellcheck: 'false'});
  const kinds = h('fieldset', {}, h('legend', {}, 'What do you have?'),
    h('label', {}, h('input', {type: 'radio', name: 'kind', value: 'ticket', checked: true}), ' a one-time ticket'),
    h('label', {}, h('input', {type: 'radio', name: 'kind', value: 'token'}), ' a token'));
  const problem = h('p', {class: 'problem', role: 'alert'}, message && h('strong', {}, message), hint && ` Hint: ${hint}`);
  const submit = async () => {
    const value = secret.value.trim();
    problem.replaceChildren();
    try {
      if (kinds.querySelector('input:checked').value === 'ticket') await api.login(value.replace(/^.*#ticket=/, ''));
      else await api.exchange(value);
    } catch (error) {
      problem.append(h('strong', {}, error.message), error.hint ? ` Hint: ${error.hint}` : '');
      secret.select();
      return;
    }
    secret.value = '';
    await done();
  };
  return h('form', {class: 'signin', onsubmit: (event) => {
    event.preventDefault();
    busy(event.currentTarget, submit);
  }},
  h('h2', {}, 'Sign in'), problem, kinds,
  h('label', {for: 'secret'}, 'Ticket or token'), secret,
  h('button', {type: 'submit', class: 'primary'}, 'Sign in'),
  h('p', {class: 'quiet'}, 'In the container, ', h('code', {}, 'stoker console'),
    ' prints an address with a ticket. It can be used once.'));
}
